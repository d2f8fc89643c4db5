# shellcheck shell=bash
# Starting the testbed's servers and machines, and ending them again.
# Sourced by scripts/testbed and scripts/e2e, after lib.sh.

# stop PID: ends one process that this script has started.
stop() {
	kill "$1" 2>/dev/null || return 0
	wait "$1" 2>/dev/null || true
}

# guarded COMMAND...: runs it to its end, and ends it when this script is ended.
guarded() (
	"$@" </dev/null &
	pid=$!
	# shellcheck disable=SC2064  # the value of now
	trap "stop $pid" EXIT
	wait "$pid"
)

# wait_for SECONDS PID FILE PATTERN: until a line of FILE matches; fails when
# the time is up or the process has ended before that.
wait_for() {
	local end=$((SECONDS + $1)) pid=$2 file=$3 pattern=$4
	while ! grep -aqE "$pattern" "$file" 2>/dev/null; do
		[ "$SECONDS" -lt "$end" ] || return 1
		if ! kill -0 "$pid" 2>/dev/null; then
			grep -aqE "$pattern" "$file" 2>/dev/null
			return
		fi
		sleep 0.3
	done
}

# with_vcsim COMMAND...: runs a command with GOVC_URL set to a simulated
# vCenter that lives as long as the command does, on a free loopback port.
with_vcsim() (
	out=$(mktemp)
	"$TB/govc/bin/vcsim" -l 127.0.0.1:0 -dc 1 -cluster 1 -standalone-host 0 -vm 1 \
		-username user -password pass >"$out" 2>&1 &
	pid=$!
	# shellcheck disable=SC2064  # the values of now
	trap "stop $pid; rm -f '$out'" EXIT
	wait_for 30 "$pid" "$out" '^export GOVC_URL=' || {
		cat "$out" >&2
		die "vcsim did not start (see above)"
	}
	GOVC_URL=$(sed -n 's/^export GOVC_URL=\([^ ]*\).*/\1/p' "$out")
	export GOVC_URL GOVC_INSECURE=1 GOVC_PERSIST_SESSION=false
	"$@"
)

# with_kubernetes ARG...: runs kubectl against an API server that lives as long
# as that does. Neither server can be asked for any free port: another is tried
# when one was taken.
with_kubernetes() (
	folder=$(mktemp -d)
	pids=
	# shellcheck disable=SC2154  # pid is the loop's own
	trap 'for pid in $pids; do stop "$pid"; done; rm -rf "$folder"' EXIT
	cd "$folder"
	echo 'token,admin,admin,"system:masters"' >tokens.csv
	for _ in 1 2 3 4 5; do
		start_kubernetes $((20000 + RANDOM % 10000)) && break
		for pid in $pids; do stop "$pid"; done
		pids=
	done
	[ -n "$pids" ] || {
		cat etcd.log api.log >&2
		die "kube-apiserver did not start (see above)"
	}
	"$TB/kubernetes/bin/kubectl" --server "https://127.0.0.1:$port" --token token \
		--certificate-authority certs/apiserver.crt "$@"
)

# start_kubernetes PORT: etcd at PORT, the API server at the port after it, in
# the current folder; sets $port and $pids.
start_kubernetes() {
	local bin=$TB/kubernetes/bin etcd=http://127.0.0.1:$1 peer=unix://peer:0 pid
	port=$(($1 + 1))
	rm -rf etcd certs
	"$bin/etcd" --data-dir etcd --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
		--initial-cluster "default=$peer" --unsafe-no-fsync >etcd.log 2>&1 </dev/null &
	pids=$!
	"$bin/kube-apiserver" --etcd-servers "$etcd" --bind-address 127.0.0.1 --secure-port "$port" \
		--cert-dir certs --token-auth-file tokens.csv --authorization-mode RBAC \
		--service-cluster-ip-range 10.0.0.0/24 --endpoint-reconciler-type none \
		--service-account-issuer "https://127.0.0.1:$port" \
		--service-account-key-file certs/apiserver.key \
		--service-account-signing-key-file certs/apiserver.key \
		--disable-admission-plugins ServiceAccount >api.log 2>&1 </dev/null &
	pid=$!
	pids="$pid $pids"
	wait_for 60 "$pid" api.log 'Caches are synced for crd-autoregister'
}

# boot_to_login SECONDS LOG QEMU-ARG...: starts a machine under software
# emulation and ends it as soon as it asks for a login on the serial line.
boot_to_login() (
	limit=$1 log=$2
	shift 2
	: >"$log"
	"$TB/qemu/bin/qemu-system-x86_64" -accel "${HYPER_TESTBED_ACCEL:-tcg}" \
		-nodefaults -no-user-config -display none -no-reboot \
		-serial "file:$log" "$@" >"$log.qemu" 2>&1 </dev/null &
	pid=$!
	# shellcheck disable=SC2064  # the value of now
	trap "stop $pid" EXIT
	wait_for "$limit" "$pid" "$log" 'login: *$' || {
		tail -n 5 "$log.qemu" "$log" >&2
		die "no login prompt within $limit s; the console's text is in $log"
	}
)

# ovmf_args DIR [yes]: the arguments, one a line, for UEFI firmware with fresh
# variables that are kept in DIR; with yes, Secure Boot is on and knows the
# usual keys.
ovmf_args() {
	local from=$TB/qemu/root/usr/share/OVMF kind=
	if [ "${2:-no}" = yes ]; then
		kind=.ms
		printf '%s\n' -global driver=cfi.pflash01,property=secure,value=on
	fi
	cp "$from/OVMF_VARS_4M$kind.fd" "$1/vars.fd"
	printf '%s\n' \
		-drive "if=pflash,unit=0,format=raw,readonly=on,file=$from/OVMF_CODE_4M$kind.fd" \
		-drive "if=pflash,unit=1,format=raw,file=$1/vars.fd"
}
