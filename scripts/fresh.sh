# shellcheck shell=bash
# What scripts/try and scripts/test start with. Sourced by both.

# need_rust: cargo and a C compiler, or words about where to get them.
need_rust() {
	HOME=${HOME:-$(cd ~ && pwd)}
	export HOME
	command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
	command -v cargo >/dev/null || {
		echo "cargo is not there: install Rust from https://rustup.rs" >&2
		exit 1
	}
	command -v cc >/dev/null || {
		echo "there is no C compiler: on Debian, apt-get install gcc libc6-dev" >&2
		exit 1
	}
}

# forget_settings: as for a new user. Settings of whoever runs this (HYPER_FORMAT
# and the like) would change what the tools do; those of the testbed stay.
forget_settings() {
	local name
	for name in $(compgen -e HYPER_ || true); do
		case $name in
		HYPER_TESTBED* | HYPER_E2E_* | HYPER_TB_KUBE_1_36 | HYPER_TB_KUBEVIRT_CRDS) ;;
		*) unset "$name" ;;
		esac
	done
}
