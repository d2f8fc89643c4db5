# shellcheck shell=bash
# kubernetes-new: an API server of a newer Kubernetes than Debian's stable release can build, without
# most of its parts, with etcd and kubectl of the same age. The recipe is not this repository's: a
# folder with a build.sh that takes a destination and leaves bin/miniapi, bin/etcd and bin/kubectl
# there. HYPER_TB_KUBE_1_36 names it.

TB_NEW_RECIPE=${HYPER_TB_KUBE_1_36:-}

possible_kubernetes_new() {
	[ -x "$TB_NEW_RECIPE/build.sh" ] ||
		skip "kubernetes-new: there is no recipe here; HYPER_TB_KUBE_1_36 names its folder"
}

make_kubernetes_new() {
	say "kubernetes-new: compiling an API server, some minutes"
	"$TB_NEW_RECIPE/build.sh" "$1/work" >"$1/build.log" 2>&1 || {
		tail -n 20 "$1/build.log" >&2
		die "kubernetes-new could not be built (see above)"
	}
	mkdir -p "$1/programs"
	mv "$1/work/bin/miniapi" "$1/work/bin/etcd" "$1/work/bin/kubectl" "$1/programs/"
	chmod -R u+w "$1/work"
	rm -rf "$1/work"
}

env_kubernetes_new() {
	local dir=$TB/kubernetes-new/programs
	cat <<-END
		HYPER_TB_NEW_ETCD=$dir/etcd
		HYPER_TB_NEW_KUBE_APISERVER=$dir/miniapi
		HYPER_TB_NEW_KUBECTL=$dir/kubectl
	END
}

check_kubernetes_new() { "$TB/kubernetes-new/programs/kubectl" version --client; }
