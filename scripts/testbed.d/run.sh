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
