# shellcheck shell=bash
# vnc: noVNC, which `hyper console vnc --browser` serves, and vncsnapshot, a VNC
# client that others wrote, with djpeg, which reads the pictures that it takes.

make_vnc() {
	local root=$1/root debs=$1/debs
	unpacked "$root" vncsnapshot libjpeg-turbo-progs
	# By itself: its dependencies are a server that nobody needs here.
	mkdir -p "$debs"
	(cd "$debs" && apt_run download novnc)
	mkdir -p "$1/novnc"
	dpkg-deb --fsys-tarfile "$debs"/novnc_*.deb |
		tar -x -C "$1/novnc" --strip-components=4 --no-same-owner ./usr/share/novnc
	rm -rf "$debs" "$root"/usr/share/{doc,man,locale,lintian}
	write_wrapper "$1/bin/vncsnapshot" vnc usr/bin/vncsnapshot
	write_wrapper "$1/bin/djpeg" vnc usr/bin/djpeg
}

env_vnc() {
	printf '%s\n' "HYPER_TB_NOVNC=$TB/vnc/novnc" \
		"HYPER_TB_VNCSNAPSHOT=$TB/vnc/bin/vncsnapshot" "HYPER_TB_DJPEG=$TB/vnc/bin/djpeg"
}

check_vnc() {
	[ -f "$TB/vnc/novnc/core/rfb.js" ]
	# It ends with 1 after its help.
	{ "$TB/vnc/bin/vncsnapshot" -help 2>&1 || true; } | head -n 1
	"$TB/vnc/bin/djpeg" -version </dev/null 2>&1 | head -n 1
}
