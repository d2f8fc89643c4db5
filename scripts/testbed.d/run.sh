# shellcheck shell=bash
# Starting the testbed's servers and machines, and ending them again.
# Sourced by scripts/testbed and scripts/e2e, after lib.sh, by scripts/test for
# serve_kubernetes, and by scripts/bench for stop and wait_for, which need
# nothing of that.

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
# as that does.
with_kubernetes() (
	folder=$(mktemp -d)
	trap '[ -z "${KUBERNETES_INPUT:-}" ] || exec {KUBERNETES_INPUT}>&-; wait; rm -rf "$folder"' EXIT
	export HYPER_TB_ETCD=$TB/kubernetes/bin/etcd HYPER_TB_KUBECTL=$TB/kubernetes/bin/kubectl
	export HYPER_TB_KUBE_APISERVER=$TB/kubernetes/bin/kube-apiserver
	serve_kubernetes "$folder" || {
		cat "$folder/etcd.log" "$folder/api.log" >&2
		die "kube-apiserver did not start (see above)"
	}
	"$HYPER_TB_KUBECTL" --kubeconfig "$folder/kubeconfig" "$@"
)

# serve_kubernetes FOLDER: a Kubernetes API out of a folder, which has a
# kubeconfig then, until $KUBERNETES_INPUT is closed; at the latest that is when
# this shell ends. The programs are those of HYPER_TB_ETCD,
# HYPER_TB_KUBE_APISERVER and HYPER_TB_KUBECTL. Neither server can be asked for
# any free port: others are tried when one was taken after all.
serve_kubernetes() {
	local serve
	serve=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/kubernetes-serve
	for _ in 1 2 3; do
		exec {KUBERNETES_INPUT}> >(exec "$serve" "$1" "$(unused_port 20000)" \
			"$(unused_port 25000)" >/dev/null 2>&1)
		for _ in {1..100}; do
			if "$HYPER_TB_KUBECTL" --kubeconfig "$1/kubeconfig" get --raw /readyz \
				>/dev/null 2>&1; then
				return
			fi
			sleep 0.5
		done
		exec {KUBERNETES_INPUT}>&-
		KUBERNETES_INPUT=
	done
	return 1
}

# unused_port FIRST: a port of the five thousand from FIRST on at which nobody
# listens just now.
unused_port() {
	local port
	while :; do
		port=$(($1 + RANDOM % 5000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
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
