# shellcheck shell=bash
# v2v: virt-v2v with libguestfs and its appliance, the little machine that
# looks into disks. Debian's programs expect their files where Debian puts
# them; so they run with the unpacked root's /usr, /etc and package database
# laid over the host's, which only they see. All other paths are the host's.

# Asked first, for it would be a pity about the download. A plain chroot and
# most containers say no.
possible_v2v() {
	unshare -m true 2>/dev/null || unshare -rm true 2>/dev/null ||
		skip "v2v: left out, as the kernel gives this user no mount namespace (unshare -rm)"
}

make_v2v() {
	local root=$1/root debs=$1/debs
	fetch_packages "$debs" '?essential' usr-is-merged mawk \
		virt-v2v libguestfs0 supermin nbdkit libnbd-bin ovmf seabios \
		linux-image-cloud-amd64
	unpack_packages "$debs" "$root"
	register_packages "$debs" "$root"
	rm -rf "$debs"
	settle_v2v "$root"
	mkdir "$1/bin"
	install -m 755 "$TB_RECIPES/v2v/run" "$1/run"
	ln -s ../run "$1/bin/virt-v2v"
	make_appliance "$1"
	rm -rf "${root:?}"/{boot,usr/lib/modules} "$root"/usr/share/{doc,man,locale,info,lintian}
}

# register_packages DEBS ROOT: the package database as it would be after an
# installation. The appliance is put together from what it lists.
register_packages() {
	local deb db=$2/var/lib/dpkg scratch=$2.control name arch
	mkdir -p "$db/info" "$db/updates" "$scratch"
	: >"$db/available"
	printf '1\n' >"$db/info/format"
	for deb in "$1"/*.deb; do
		dpkg-deb --control "$deb" "$scratch"
		name=$(sed -n 's/^Package: //p' "$scratch/control")
		arch=$(sed -n 's/^Architecture: //p' "$scratch/control")
		grep -q '^Multi-Arch: same' "$scratch/control" && name=$name:$arch
		dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's,^\.,,; s,/$,,; s,^$,/.,' \
			>"$db/info/$name.list"
		mv "$scratch/md5sums" "$db/info/$name.md5sums" 2>/dev/null || true
		{
			sed '/^Package: /a Status: install ok installed' "$scratch/control"
			conffiles_of "$2" "$scratch/conffiles"
			echo
		} >>"$db/status"
		rm -rf "${scratch:?}"/*
	done
	rm -rf "$scratch"
}

conffiles_of() {
	[ -f "$2" ] || return 0
	local file
	echo 'Conffiles:'
	while read -r file; do
		[ -f "$1/$file" ] || continue
		printf ' %s %s\n' "$file" "$(md5sum <"$1/$file" | cut -c1-32)"
	done <"$2"
}

# settle_v2v ROOT: the little that packages' scripts would have done and that
# somebody asks for.
settle_v2v() {
	local version
	cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"
	cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"
	ln -sf mawk "$1/usr/bin/awk"
	ln -sf /proc/mounts "$1/etc/mtab"
	# A link to a folder of /var, which stays the host's.
	cp --remove-destination "$1/var/lib/usbutils/usb.ids" "$1/usr/share/misc/"
	version=$(basename "$1"/lib/modules/*)
	run_depmod "$1" "$version"
}

# depmod is one of kmod's names; it goes by the name it is called by.
run_depmod() {
	"$1/$TB_LOADER" --argv0 depmod \
		--library-path "$1/usr/lib/$TB_LIBDIR" "$1/usr/bin/kmod" -b "$1" "$2"
}

# make_appliance DIR: the appliance once and for all, so that no run has to.
make_appliance() {
	local version
	version=$(basename "$1"/root/lib/modules/*)
	say "v2v: building the appliance of libguestfs"
	mkdir "$1/appliance"
	# In a user's own namespace root cannot give files to others, as tar would.
	TAR_OPTIONS=--no-same-owner SUPERMIN_KERNEL=$1/root/boot/vmlinuz-$version SUPERMIN_KERNEL_VERSION=$version \
		SUPERMIN_MODULES=$1/root/lib/modules/$version "$1/run" supermin --build --copy-kernel -f ext2 \
		--host-cpu x86_64 "/usr/lib/$TB_LIBDIR/guestfs/supermin.d" \
		-o "$1/appliance" >"$1/appliance.log" 2>&1 || {
		tail -n 20 "$1/appliance.log" >&2
		die "v2v: the appliance could not be built (see above)"
	}
	rm "$1/appliance.log"
	# Tells libguestfs not to make one of its own.
	echo 'A fixed appliance.' >"$1/appliance/README.fixed"
}

env_v2v() {
	echo "HYPER_TB_VIRT_V2V=$TB/v2v/bin/virt-v2v"
}

# Converts the Linux disk and throws the result away.
check_v2v() {
	"$TB/v2v/bin/virt-v2v" --version
	[ -f "$TB/linux-disk/disk/linux.raw" ] || return 0
	"$TB/v2v/bin/virt-v2v" -i disk "$TB/linux-disk/disk/linux.raw" -o null
}
