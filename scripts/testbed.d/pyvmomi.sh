# shellcheck shell=bash
# pyvmomi: the vSphere client library for Python, from PyPI, with Debian's
# Python to run it, and Debian's libraries for Kubernetes and for WebSockets.
# Further clients that the simulators have to please.

PYVMOMI_VERSION=9.1.1.0
PYVMOMI_SHA256=76af3cba85573769daf4e6760aace32e7af34e1bbf343895b8c4798b6bc0e2d2

make_pyvmomi() {
	local root=$1/root work=$1/work
	unpacked "$root" python3 python3-pip ca-certificates python3-kubernetes python3-websockets
	mkdir -p "$work"
	printf 'pyvmomi==%s --hash=sha256:%s\n' "$PYVMOMI_VERSION" "$PYVMOMI_SHA256" \
		>"$work/wanted"
	# The host's own settings of pip (a mirror, a proxy) stay in force.
	pyvmomi_python "$root" -m pip install --quiet --disable-pip-version-check \
		--no-cache-dir --root-user-action=ignore --no-deps --no-compile --only-binary :all: --require-hashes \
		--target "$1/lib" --requirement "$work/wanted" >&2
	rm -rf "$work" "$root"/usr/share/{doc,man,locale,lintian,python-wheels} \
		"$root"/usr/lib/python3/dist-packages/{pip,setuptools,wheel}
	# shellcheck disable=SC2016  # expanded by the wrapper
	write_wrapper "$1/bin/pyvmomi-python" pyvmomi usr/bin/python3.11 \
		'PYTHONHOME=$root/usr PYTHONPATH=${root%/root}/lib PYTHONDONTWRITEBYTECODE=1
export PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE'
}

# pyvmomi_python ROOT ARG...: Python from an unpacked root. Certificates are
# the host's, where it has any.
pyvmomi_python() {
	local root=$1 certs=/etc/ssl/certs/ca-certificates.crt
	shift
	if [ ! -r "$certs" ]; then
		certs=$root/certificates
		cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$certs"
	fi
	SSL_CERT_FILE=${SSL_CERT_FILE:-$certs} PIP_CERT=${PIP_CERT:-$certs} \
		PYTHONHOME=$root/usr PYTHONDONTWRITEBYTECODE=1 PIP_BREAK_SYSTEM_PACKAGES=1 \
		run_from "$root" usr/bin/python3.11 "$@"
}

env_pyvmomi() {
	local python=$TB/pyvmomi/bin/pyvmomi-python
	printf '%s\n' "HYPER_TB_PYVMOMI=$python" "HYPER_TB_PYTHON=$python"
}

check_pyvmomi() {
	"$TB/pyvmomi/bin/pyvmomi-python" -c 'from pyVmomi import vim; print(vim.VirtualMachine)'
	"$TB/pyvmomi/bin/pyvmomi-python" -c 'import kubernetes, websockets; print(kubernetes.__version__)'
}
