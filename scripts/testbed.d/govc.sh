# shellcheck shell=bash
# govc: the vSphere command line client govc and the vCenter simulator vcsim,
# built from Debian's source package with Debian's Go compiler. Debian packages
# neither program, so they have to be built.

make_govc() {
	local work=$1/work root=$1/work/root
	mkdir -p "$work"
	unpacked "$root" golang-go xz-utils \
		golang-github-google-uuid-dev golang-github-kr-pretty-dev \
		golang-github-kr-text-dev golang-github-rogpeppe-go-internal-dev
	fetch_source "$work/source" "golang-github-vmware-govmomi/$TB_SUITE"
	unpack_govmomi "$work/source" "$root" "$root/usr/share/gocode/src/github.com/vmware/govmomi"
	build_govc "$root" "$1/bin"
	# Go leaves its module folders without write permission.
	chmod -R u+w "$work"
	rm -rf "$work"
	"$1/bin/govc" version >/dev/null
}

# unpack_govmomi SOURCE ROOT DEST: the upstream tarball into DEST. Debian's
# patches are left out: they are about its own packaging.
unpack_govmomi() {
	local tarball
	tarball=$(find "$1" -name '*.orig.tar.*' ! -name '*.asc')
	mkdir -p "$3"
	case $tarball in
	*.xz) run_from "$2" usr/bin/xz -dc "$tarball" ;;
	*.gz) gzip -dc "$tarball" ;;
	*) die "govmomi's source is packed in a way this recipe does not know: $tarball" ;;
	esac | tar -x -C "$3" --strip-components=1 --no-same-owner
}

build_govc() {
	local go
	go=$(find "$1/usr/lib" -maxdepth 1 -type d -name 'go-*' | sort | tail -n 1)
	say "govc: compiling govc and vcsim with $("$go/bin/go" version)"
	mkdir -p "$2"
	# Debian's folder of Go libraries is a GOPATH; nothing is downloaded.
	env -u GOFLAGS GOROOT="$go" GO111MODULE=off CGO_ENABLED=0 GOTOOLCHAIN=local \
		GOPATH="$1/usr/share/gocode" GOCACHE="$1/cache" GOBIN="$2" \
		"$go/bin/go" install -trimpath -ldflags='-s -w' \
		github.com/vmware/govmomi/govc github.com/vmware/govmomi/vcsim
}

env_govc() {
	cat <<-END
		HYPER_TB_GOVC=$TB/govc/bin/govc
		HYPER_TB_VCSIM=$TB/govc/bin/vcsim
	END
}

check_govc() {
	"$TB/govc/bin/govc" version
	with_vcsim "$TB/govc/bin/govc" about
}
