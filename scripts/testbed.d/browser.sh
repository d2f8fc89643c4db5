# shellcheck shell=bash
# browser: Chromium without a window, which opens the page of
# `hyper console vnc --browser`.

make_browser() {
	local root=$1/root libs
	unpacked "$root" chromium-headless-shell
	libs=$root/usr/lib/$TB_LIBDIR
	# What draws with graphics cards is large and of no use here.
	rm -rf "$root"/usr/share/{doc,man,locale,lintian,X11} "$libs"/{dri,libLLVM*,libz3*} \
		"$root"/usr/lib/chromium/libVkLayer*
	# It looks for its files, and for itself, where the program lies that runs: the
	# loader, which therefore lies beside it.
	cp -L "$root/$TB_LOADER" "$root/usr/lib/chromium/loader"
	mkdir -p "$1/bin"
	cat >"$1/bin/chromium" <<-END
		#!/bin/sh
		# Runs the testbed's own Chromium with the testbed's own libraries.
		self=\$(readlink -f "\$0")
		lib=\${self%/bin/*}/root/usr/lib
		own=\$lib/$TB_LIBDIR
		exec "\$lib/chromium/loader" --argv0 "\$0" \\
		  --library-path "\$own:\$lib:\$lib/chromium:\$own/pulseaudio" \\
		  "\$lib/chromium/chromium-headless-shell" --browser-subprocess-path="\$self" \\
		  --no-sandbox --no-zygote --disable-gpu --no-first-run --disable-sync \\
		  --disable-background-networking --disable-component-update --disable-quic "\$@"
	END
	chmod +x "$1/bin/chromium"
}

env_browser() { echo "HYPER_TB_BROWSER=$TB/browser/bin/chromium"; }

check_browser() {
	local folder sum
	folder=$(mktemp -d)
	sum=$("$TB/browser/bin/chromium" --user-data-dir="$folder" --dump-dom \
		'data:text/html,<p>the sum is <script>document.write(20+22)</script></p>' 2>/dev/null)
	rm -rf "$folder"
	case $sum in
	*42*) echo "Chromium runs a script" ;;
	*) return 1 ;;
	esac
}
