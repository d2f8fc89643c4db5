# shellcheck shell=bash
# qemu: QEMU 10 (emulator, qemu-img, qemu-nbd, qemu-io) with the firmware of
# both kinds, and xmllint to read domain XML with.

make_qemu() {
	local root=$1/root
	# QEMU 10 is in the backports, and wants firmware from there as well.
	unpacked "$root" --target-release "$TB_SUITE-backports" \
		qemu-system-x86 qemu-utils seabios ovmf ipxe-qemu libxml2-utils
	slim_qemu "$root"
	local program
	for program in qemu-img qemu-nbd qemu-io xmllint; do
		write_wrapper "$1/bin/$program" qemu "usr/bin/$program" "$(qemu_modules)"
	done
	# -L comes first: firmware is looked for in the folders in their order.
	# shellcheck disable=SC2016  # expanded by the wrapper
	write_wrapper "$1/bin/qemu-system-x86_64" qemu usr/bin/qemu-system-x86_64 \
		"$(qemu_modules)"'
set -- -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \
  -L "$root/usr/lib/ipxe/qemu" "$@"'
	"$1/bin/qemu-img" --version >/dev/null
}

# Parts of QEMU are loaded when needed, from a folder that is built in.
qemu_modules() {
	# shellcheck disable=SC2016  # expanded by the wrapper
	printf 'QEMU_MODULE_DIR=$root/usr/lib/%s/qemu\nexport QEMU_MODULE_DIR' "$TB_LIBDIR"
}

slim_qemu() {
	rm -rf "$1"/usr/share/{doc,man,locale,lintian,icons,bash-completion}
	find "$1/usr/bin" -name 'qemu-system-*' ! -name qemu-system-x86_64 -delete
}

env_qemu() {
	local dir=$TB/qemu
	cat <<-END
		HYPER_TB_QEMU_IMG=$dir/bin/qemu-img
		HYPER_TB_QEMU_IO=$dir/bin/qemu-io
		HYPER_TB_QEMU_NBD=$dir/bin/qemu-nbd
		HYPER_TB_QEMU_SYSTEM=$dir/bin/qemu-system-x86_64
		HYPER_TB_XMLLINT=$dir/bin/xmllint
		HYPER_TB_OVMF_DIR=$dir/root/usr/share/OVMF
	END
}

check_qemu() {
	"$TB/qemu/bin/qemu-img" --version | head -n 1
	"$TB/qemu/bin/qemu-system-x86_64" --version | head -n 1
	"$TB/qemu/bin/qemu-img" --version | grep -q ' version 10\.'
}
