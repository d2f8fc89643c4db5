# shellcheck shell=bash
# What every component of the testbed is made with: the cache directory, a
# private apt, unpacking of packages, recipe stamps and locks.
# Sourced by scripts/testbed; needs nothing but the base of a Debian system.

# Where everything goes. Nothing outside of it is written.
TB=${HYPER_TESTBED:-${XDG_CACHE_HOME:-$HOME/.cache}/hyper/testbed}
case $TB in
/*) ;;
*) TB=$PWD/$TB ;;
esac

# The archive that packages come from, and the release whose versions the
# recipes were tried with. A host on another release still gets these.
TB_MIRROR=${HYPER_TESTBED_MIRROR:-http://deb.debian.org/debian}
TB_SUITE=bookworm
for TB_KEYRING in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
	[ ! -r "$TB_KEYRING" ] || break
done
TB_LIBDIR=x86_64-linux-gnu
# Not the usual name in /lib64: that is a link to the host's loader, and loader
# and C library must be of one version.
TB_LOADER=usr/lib/$TB_LIBDIR/ld-linux-x86-64.so.2

say() { printf 'testbed: %s\n' "$*" >&2; }

die() {
	printf 'testbed: %s\n' "$*" >&2
	exit 1
}

# Exit status 77 is the usual word for "this cannot be tried here".
skip() {
	printf 'testbed: %s\n' "$*" >&2
	exit 77
}

# size_of PATH: what it takes on disk, for people.
size_of() { du -sh "$1" | cut -f1; }

# require_host: the few programs that have to be there already.
require_host() {
	local tool
	[ "$(uname -sm)" = "Linux x86_64" ] ||
		skip "the testbed's programs are for Linux on x86-64, this is $(uname -sm)"
	for tool in apt-get dpkg dpkg-deb tar flock sha256sum; do
		command -v "$tool" >/dev/null ||
			die "needs $tool; the testbed is made on Debian 12 or later"
	done
	[ -r "$TB_KEYRING" ] ||
		die "needs $TB_KEYRING; install the package debian-archive-keyring"
}

# --- stamps and locks -------------------------------------------------------

# recipe_key COMPONENT: names the recipe. A component is made again when its
# own files or those of something it is made with have changed, and when
# TB_FORMAT has: raise that with a change in this file that makes a difference.
TB_FORMAT=1
recipe_key() {
	local part file
	{
		echo "$TB_FORMAT $TB_SUITE"
		for part in $(component_needs "$1") "$1"; do
			for file in "$TB_RECIPES/$part.sh" "$TB_RECIPES/$part"/*; do
				[ ! -f "$file" ] || cat "$file"
			done
		done
	} | sha256sum | cut -c1-32
}

is_current() {
	local stamp=$TB/$1/.recipe key
	[ -f "$stamp" ] || return 1
	read -r key <"$stamp"
	[ "$key" = "$(recipe_key "$1")" ]
}

# locked COMMAND...: one build at a time per cache directory. The lock goes
# with the process, so that a killed run blocks nobody; children do not get it.
locked() {
	mkdir -p "$TB"
	exec 9>"$TB/.lock"
	if ! flock -n 9; then
		say "another run is at work in $TB; waiting for it"
		flock 9
	fi
	"$@"
	exec 9>&-
}

# make_component NAME: makes it in a scratch directory that gets the final
# name when, and only when, everything has worked.
make_component() {
	local name=$1 scratch key started=$SECONDS
	is_current "$name" && return
	clear_scratch
	scratch=$TB/.scratch/$name
	mkdir -p "$scratch"
	key=$(recipe_key "$name")
	say "$name: making it below $TB/$name"
	"make_${name//-/_}" "$scratch" 9>&-
	echo "$key" >"$scratch/.recipe"
	rm -rf "${TB:?}/$name"
	mv -T "$scratch" "$TB/$name"
	link_results "$name"
	say "$name: ready after $((SECONDS - started)) s, $(size_of "$TB/$name") on disk"
}

# What an interrupted run left; only called with the lock held.
clear_scratch() {
	[ -d "$TB/.scratch" ] || return 0
	chmod -R u+rwX "$TB/.scratch" 2>/dev/null || true
	rm -rf "$TB/.scratch"
}

# link_results NAME: shows a component's programs and disks in common folders.
link_results() {
	local folder file
	for folder in bin disk; do
		[ -d "$TB/$1/$folder" ] || continue
		mkdir -p "$TB/$folder"
		for file in "$TB/$1/$folder"/*; do
			ln -sfn "../$1/$folder/${file##*/}" "$TB/$folder/${file##*/}"
		done
	done
}

# --- the private apt --------------------------------------------------------

# apt_setup: a package manager that believes nothing is installed, so that it
# always names the whole closure of dependencies, and that writes only below
# $TB. The host's own settings (a proxy, a mirror, credentials, certificates)
# are read first and stay in force; only hooks are dropped, for they are about
# the host's system.
apt_setup() {
	local dir=$TB/.apt file
	APT_CONFIG=$dir/apt.conf
	export APT_CONFIG
	[ -z "${TB_APT_READY:-}" ] || return 0
	rm -rf "$dir/conf.d"
	mkdir -p "$dir/conf.d" "$dir/lists/partial" "$dir/archives/partial" \
		"$dir/preferences.d" "$dir/log"
	: >"$dir/status"
	: >"$dir/preferences"
	for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
		if [ -r "$file" ] && [ -f "$file" ]; then
			ln -s "$file" "$dir/conf.d/10-${file##*/}"
		fi
	done
	apt_settings "$dir" >"$dir/conf.d/99-testbed.conf"
	printf 'Dir::Etc::main "/dev/null";\nDir::Etc::parts "%s/conf.d";\n' "$dir" \
		>"$dir/apt.conf"
	apt_sources >"$dir/sources.list"
	say "reading the package lists of $TB_SUITE from $TB_MIRROR"
	apt_run update
	TB_APT_READY=1
}

apt_settings() {
	cat <<-END
		#clear DPkg;
		#clear APT::Update;
		#clear APT::NeverAutoRemove;
		#clear APT::Default-Release;
		APT::Architecture "amd64";
		#clear APT::Architectures;
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "false";
		APT::Install-Suggests "false";
		APT::Sandbox::User "";
		Acquire::AllowInsecureRepositories "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::PDiffs "false";
		Dir::State "$1";
		Dir::State::lists "$1/lists";
		Dir::State::status "$1/status";
		Dir::State::extended_states "$1/extended_states";
		Dir::Cache "$1";
		Dir::Cache::archives "$1/archives";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "$1/srcpkgcache.bin";
		Dir::Log "$1/log";
		Dir::Etc::sourcelist "$1/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "$1/preferences";
		Dir::Etc::preferencesparts "$1/preferences.d";
	END
}

apt_sources() {
	local suite
	for suite in "$TB_SUITE" "$TB_SUITE-backports"; do
		printf '%s [signed-by=%s] %s %s main\n' \
			deb "$TB_KEYRING" "$TB_MIRROR" "$suite" \
			deb-src "$TB_KEYRING" "$TB_MIRROR" "$suite"
	done
}

# apt_run ARG...: apt-get without its chatter; what it said is shown when it
# fails.
apt_run() {
	local log=$TB/.apt/log/last
	DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >"$log" 2>&1 </dev/null && return
	sed 's/^/  /' "$log" >&2
	die "apt-get $1 failed (see above); is $TB_MIRROR reachable? HYPER_TESTBED_MIRROR names another mirror"
}

# fetch_packages DIR PACKAGE...: the packages and all they depend on, as .deb
# files in DIR. Options of apt-get may stand before the packages.
fetch_packages() {
	local dir=$1 list
	shift
	apt_setup
	list=$TB/.apt/uris
	apt-get -qq -y --print-uris install "$@" >"$list" 2>"$TB/.apt/log/last" || {
		sed 's/^/  /' "$TB/.apt/log/last" >&2
		die "no way to install $* was found in $TB_SUITE"
	}
	say "fetching $(wc -l <"$list") packages," \
		"$(awk '{ n += $3 } END { printf "%d MB", n / 1e6 }' "$list"), from $TB_MIRROR"
	apt_run --download-only install "$@"
	mkdir -p "$dir"
	# The file names of apt escape the colon of an epoch; so do these.
	awk '{ print $2 }' "$list" | while read -r file; do
		mv "$TB/.apt/archives/$file" "$dir/"
	done
}

# fetch_source DIR PACKAGE: the files of a source package, their checksums
# held against the signed index.
fetch_source() {
	local dir=$1
	apt_setup
	mkdir -p "$dir"
	(cd "$dir" && apt_run --download-only source "$2")
	say "fetched the source of $2, $(size_of "$dir")"
}

# unpack_packages DIR ROOT: unpacks every .deb of DIR, without any of their
# scripts, into a root that has /usr merged as an installed system has.
unpack_packages() {
	local name deb
	for name in bin sbin lib lib32 lib64 libx32; do
		mkdir -p "$2/usr/$name"
		ln -sfn "usr/$name" "$2/$name"
	done
	for deb in "$1"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$2" --no-same-owner --keep-directory-symlink
	done
	# Nothing here runs with more rights than the user has, and a folder
	# without write permission could not be removed again.
	chmod -R u+rwX,ug-s "$2"
}

# unpacked ROOT PACKAGE...: fetches and unpacks in one go.
unpacked() {
	local root=$1 debs=$1.debs
	shift
	mkdir -p "$root"
	fetch_packages "$debs" "$@"
	unpack_packages "$debs" "$root"
	rm -rf "$debs"
}

# run_from ROOT PROGRAM ARG...: runs a program of an unpacked root with that
# root's own loader and libraries. LD_LIBRARY_PATH would reach the children,
# which may be programs of the host.
run_from() {
	local root=$1 program=$2
	shift 2
	"$root/$TB_LOADER" --argv0 "$program" \
		--library-path "$root/usr/lib/$TB_LIBDIR:$root/usr/lib" "$root/$program" "$@"
}

# write_wrapper FILE COMPONENT PROGRAM [LINE]: a script that runs PROGRAM of
# COMPONENT's root in the same way. LINE may set the environment and $args.
write_wrapper() {
	mkdir -p "${1%/*}"
	cat >"$1" <<-END
		#!/bin/sh
		# Runs the testbed's own ${3##*/} with the testbed's own libraries.
		self=\$(readlink -f "\$0")
		root=\${self%/bin/*}/root
		${4:-}
		exec "\$root/$TB_LOADER" --argv0 "\$0" \\
		  --library-path "\$root/usr/lib/$TB_LIBDIR:\$root/usr/lib" \\
		  "\$root/$3" "\$@"
	END
	chmod +x "$1"
}
