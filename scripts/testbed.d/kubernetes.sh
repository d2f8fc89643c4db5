# shellcheck shell=bash
# kubernetes: a complete API server of Kubernetes 1.20.2, built from Debian's
# source package with Debian's Go compiler (Debian packages no server), with
# Debian's etcd under it and Debian's kubectl of the same version before it.

KUBERNETES_VERSION=1.20.2

make_kubernetes() {
	local root=$1/root work=$1/work
	mkdir -p "$work/all"
	unpacked "$work/all" etcd-server kubernetes-client
	keep_programs "$work/all" "$root" usr/bin/etcd usr/bin/kubectl
	write_wrapper "$1/bin/etcd" kubernetes usr/bin/etcd
	write_wrapper "$1/bin/kubectl" kubernetes usr/bin/kubectl
	unpacked "$work/go" golang-go golang-github-modern-go-reflect2-dev
	fetch_source "$work/source" "kubernetes/$TB_SUITE"
	unpack_kubernetes "$work/source" "$work/go" "$work/gopath/src/k8s.io/kubernetes"
	build_kubernetes "$work" "$1/bin"
	# Go leaves its module folders without write permission.
	chmod -R u+w "$work"
	rm -rf "$work"
	"$1/bin/kube-apiserver" --version >/dev/null
}

# keep_programs FROM ROOT PROGRAM...: the programs and what they are linked
# with, out of a root with much more in it.
keep_programs() {
	local from=$1 root=$2 program library
	shift 2
	mkdir -p "$root/usr/bin" "$root/usr/lib/$TB_LIBDIR"
	for program in "$@" "$TB_LOADER"; do
		cp -L "$from/$program" "$root/$program"
	done
	for program in "$@"; do
		for library in $(libraries_of "$from" "$program"); do
			cp -L "$library" "$root/usr/lib/$TB_LIBDIR/"
		done
	done
}

# libraries_of ROOT PROGRAM: the files that the root's loader finds for it; none
# for a program that is linked with nothing.
libraries_of() {
	"$1/$TB_LOADER" --list --library-path "$1/usr/lib/$TB_LIBDIR" "$1/$2" 2>/dev/null |
		awk '$2 == "=>" { print $3 }' || true
}

# unpack_kubernetes SOURCE GO DEST: the upstream tarball into DEST. The reflect2
# that comes with it crashes when built with Go 1.18 or later, as soon as the
# first custom resource is read; Debian's package of it does not.
unpack_kubernetes() {
	local tarball fixed=$2/usr/share/gocode/src/github.com/modern-go/reflect2
	local old=$3/vendor/github.com/modern-go/reflect2
	tarball=$(find "$1" -name '*.orig.tar.gz')
	mkdir -p "$3"
	tar -xz -C "$3" --strip-components=1 --no-same-owner <"$tarball"
	rm -f "$old"/*.go "$old"/*.s
	find "$fixed" -maxdepth 1 \( -name '*.go' -o -name '*.s' \) ! -name '*_test.go' \
		-exec cp -t "$old" {} +
}

# build_kubernetes WORK BIN: the server alone. Its own makefile would build
# every generator first, to write anew what the tarball has already; only the
# description of the API is not in there.
build_kubernetes() {
	local go
	go=$(find "$1/go/usr/lib" -maxdepth 1 -type d -name 'go-*' | sort | tail -n 1)
	say "kubernetes: compiling kube-apiserver with $("$go/bin/go" version), a few minutes"
	(
		unset GOFLAGS
		export GOROOT=$go GO111MODULE=off CGO_ENABLED=0 GOTOOLCHAIN=local GOPROXY=off
		export GOPATH=$1/gopath GOCACHE=$1/cache PATH=$go/bin:$PATH
		cd "$1/gopath/src/k8s.io/kubernetes"
		describe_api "$1"
		mkdir -p "$2"
		go build -trimpath -ldflags "-s -w $(version_flags)" -o "$2/kube-apiserver" \
			./cmd/kube-apiserver
	)
}

# describe_api WORK: writes pkg/generated/openapi from the packages that the
# server is made of and that ask for it.
describe_api() {
	local wanted
	go build -o "$1/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
	# The generated package is missing, which is why the list complains.
	wanted=$(go list -e -deps -f '{{.ImportPath}} {{.Dir}}' ./cmd/kube-apiserver 2>/dev/null |
		while read -r package folder; do
			case $package in k8s.io/*) ;; *) continue ;; esac
			grep -qs '+k8s:openapi-gen=true' "$folder"/*.go || continue
			echo "${package#k8s.io/kubernetes/vendor/}"
		done | sort -u | paste -sd,)
	"$1/openapi-gen" --go-header-file /dev/null --input-dirs "$wanted" \
		--output-base "$GOPATH/src" --output-package k8s.io/kubernetes/pkg/generated/openapi \
		--output-file-base zz_generated.openapi --report-filename /dev/null
}

# The server tells one of these versions to clients, and prints the other.
version_flags() {
	local at
	for at in k8s.io/kubernetes/vendor/k8s.io/{component-base,client-go/pkg}/version; do
		printf -- '-X %s.gitVersion=v%s -X %s.gitMajor=1 -X %s.gitMinor=20 ' \
			"$at" "$KUBERNETES_VERSION" "$at" "$at"
	done
}

env_kubernetes() {
	local dir=$TB/kubernetes/bin
	cat <<-END
		HYPER_TB_ETCD=$dir/etcd
		HYPER_TB_KUBE_APISERVER=$dir/kube-apiserver
		HYPER_TB_KUBECTL=$dir/kubectl
	END
}

check_kubernetes() {
	local said
	said=$(with_kubernetes version --short)
	printf '%s\n' "$said"
	printf '%s\n' "$said" | grep -q "Server Version: v$KUBERNETES_VERSION"
}
