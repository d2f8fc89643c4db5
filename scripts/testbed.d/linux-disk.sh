# shellcheck shell=bash
# linux-disk: a small real Debian machine on a raw disk, with boot loaders for
# BIOS and UEFI, that comes up to a login prompt on the serial line.
#
# Making a file system with other owners, configuring packages and installing
# a boot loader all need root. An emulated machine gives it to anybody: it
# boots the kernel of the machine to be, with the essential packages unpacked
# in memory, and that installs the disk. See linux-disk/install.

# What the machine consists of, beside Debian's essential packages.
linux_packages() {
	cat <<-END
		usr-is-merged init systemd-sysv udev kmod netbase
		linux-image-amd64 initramfs-tools zstd
		grub-pc-bin grub-efi-amd64-bin grub2-common
		grub-efi-amd64-signed shim-signed
		e2fsprogs dosfstools fdisk
	END
}

make_linux_disk() {
	local work=$1/work
	mkdir -p "$work"
	# shellcheck disable=SC2046  # package names are single words
	fetch_packages "$work/debs" '?essential' $(linux_packages)
	unpack_packages "$work/debs" "$work/installer"
	pack_debs "$work"
	pack_installer "$work"
	run_installer "$work"
	mkdir "$1/disk"
	mv "$work/linux.raw" "$1/disk/"
	rm -rf "$work"
}

# pack_installer WORK: the memory file system that the installing machine runs
# from: all packages but the kernel's bulk, unpacked and not configured.
pack_installer() {
	local root=$1/installer version
	version=$(basename "$root"/lib/modules/*)
	mv "$root/boot/vmlinuz-$version" "$1/vmlinuz"
	keep_modules "$root/lib/modules/$version"
	rm -rf "${root:?}/boot" "$root"/usr/share/{doc,man,locale,info} "$root"/usr/lib/{grub,shim}
	mkdir -p "$root"/{proc,sys,dev,tmp,mnt,etc}
	install -m 755 "$TB_RECIPES/linux-disk/install" "$root/init"
	cp "$TB_RECIPES/linux-disk/dpkg.cfg" "$root/etc/target-dpkg.cfg"
	# The kernel reads this archive as it is; owners become root in it.
	(cd "$root" && find . -print0 | LC_ALL=C sort -z) |
		(cd "$root" && run_from "$root" usr/bin/cpio -o -0 -H newc --owner=0:0 --quiet) \
			>"$1/initrd"
	rm -rf "$root"
}

# keep_modules DIR: the drivers that installing takes; the rest is ballast in
# memory. The machine's own choice is in linux-disk/dpkg.cfg.
keep_modules() {
	local keep=$1.keep name
	mkdir "$keep"
	for name in kernel/drivers/{block,virtio} kernel/fs/{ext4,jbd2,fat,nls,mbcache.ko} \
		kernel/lib kernel/crypto kernel/arch/x86/crypto modules.builtin modules.order; do
		mkdir -p "$keep/$(dirname "$name")"
		mv "$1/$name" "$keep/$name"
	done
	rm -rf "$1"
	mv "$keep" "$1"
}

# pack_debs WORK: the packages as a file system for the installing machine.
# Their contents are stored plainly: emulation makes unpacking ten times
# slower, so it is done out here.
pack_debs() {
	local deb dir=$1/plain
	mkdir "$dir"
	for deb in "$1/debs"/*.deb; do
		plain_deb "$deb" "$dir/${deb##*/}"
		rm "$deb"
	done
	apt-get -qq -y --print-uris install '?essential' usr-is-merged |
		awk '{ print $2 }' >"$dir/essential"
	MKE2FS_CONFIG=$1/installer/etc/mke2fs.conf \
		run_from "$1/installer" usr/sbin/mke2fs -q -t ext4 -O ^has_journal -m 0 \
		-d "$dir" "$1/debs.img" "$(($(du -sm "$dir" | cut -f1) * 21 / 20 + 16))M" >/dev/null
	rm -rf "$dir"
}

# plain_deb FROM TO: the same package without compression. The file format is
# an ar archive of three members.
plain_deb() {
	local part=$2.part
	mkdir "$part"
	printf '2.0\n' >"$part/debian-binary"
	dpkg-deb --ctrl-tarfile "$1" >"$part/control.tar"
	dpkg-deb --fsys-tarfile "$1" >"$part/data.tar"
	{
		printf '!<arch>\n'
		ar_member "$part/debian-binary"
		ar_member "$part/control.tar"
		ar_member "$part/data.tar"
	} >"$2"
	rm -rf "$part"
}

# Members begin at even offsets; all of these have even sizes.
ar_member() {
	printf '%-16s%-12s%-6s%-6s%-8s%-10s`\n' "${1##*/}" 0 0 0 100644 "$(stat -c %s "$1")"
	cat "$1"
}

# run_installer WORK: boots the installing machine and waits for its last word.
run_installer() {
	local log=$1/serial.log
	truncate -s 1G "$1/linux.raw"
	say "linux-disk: installing Debian in an emulated machine; a few minutes"
	# Software emulation, for /dev/kvm may be there and not work;
	# HYPER_TESTBED_ACCEL=kvm is for those who know theirs does.
	# The clock starts at the kernel's build, so that two disks differ little.
	guarded timeout 3600 "$TB/qemu/bin/qemu-system-x86_64" \
		-accel "${HYPER_TESTBED_ACCEL:-tcg}" -cpu max -smp 2 -m 1536 \
		-nodefaults -no-user-config -display none -no-reboot \
		-rtc "base=$(date -u -r "$1/vmlinuz" +%FT%T)" -serial "file:$log" \
		-kernel "$1/vmlinuz" -initrd "$1/initrd" \
		-append 'console=ttyS0 panic=-1 quiet rdinit=/init' \
		-drive "file=$1/linux.raw,if=virtio,format=raw,discard=unmap,detect-zeroes=unmap,cache=unsafe" \
		-drive "file=$1/debs.img,if=virtio,format=raw,readonly=on" \
		>"$1/qemu.log" 2>&1 || true
	grep -q '^installed: ' "$log" || {
		tail -n 30 "$1/qemu.log" "$log" >&2
		die "linux-disk: the installation did not come to its end (see above)"
	}
}

env_linux_disk() {
	echo "HYPER_TB_LINUX_RAW=$TB/linux-disk/disk/linux.raw"
}

# Both firmwares, and on the way two kinds of disk.
check_linux_disk() {
	local dir firmware
	dir=$(mktemp -d)
	# shellcheck disable=SC2064  # the value of now
	trap "rm -rf '$dir'" EXIT
	local disk=file=$TB/linux-disk/disk/linux.raw,format=raw,snapshot=on
	boot_to_login 300 "$dir/bios.log" -machine pc -m 512 -smp 2 \
		-drive "$disk,if=ide"
	echo "BIOS, IDE disk: $(grep -a 'login:' "$dir/bios.log" | tail -n 1)"
	mapfile -t firmware < <(ovmf_args "$dir")
	boot_to_login 300 "$dir/uefi.log" -machine q35 -m 512 -smp 2 "${firmware[@]}" \
		-drive "$disk,if=virtio"
	echo "UEFI, virtio disk: $(grep -a 'login:' "$dir/uefi.log" | tail -n 1)"
}
