# shellcheck shell=bash
# Turns a libvirt domain XML into the arguments QEMU is to be started with, so
# that a written machine can be started where no libvirt is.

# xml FILE XPATH: the text found, or nothing.
xml() { "$HYPER_TB_XMLLINT" --nonet --xpath "string($2)" "$1"; }

# count FILE XPATH: how many there are.
count() { "$HYPER_TB_XMLLINT" --nonet --xpath "count($2)" "$1"; }

# domain_args FILE SCRATCH: fills the array DOMAIN_ARGS. Disks are opened so that
# what the machine writes is thrown away; SCRATCH takes the firmware's variables.
domain_args() {
	local file=$1 n
	DOMAIN_ARGS=(-name "$(xml "$file" /domain/name)" -cpu max
		-smp "$(xml "$file" /domain/vcpu)" -m "$(memory_mib "$file")")
	machine_args "$file" "$2"
	for ((n = 1; n <= $(count "$file" "/domain/devices/disk[@device='disk']"); n++)); do
		disk_args "$file" "$n"
	done
	for ((n = 1; n <= $(count "$file" /domain/devices/interface); n++)); do
		network_args "$file" "$n"
	done
}

memory_mib() {
	local amount unit
	amount=$(xml "$1" /domain/memory)
	unit=$(xml "$1" /domain/memory/@unit)
	case $unit in
	b | bytes) echo $((amount >> 20)) ;;
	'' | KiB | k) echo $((amount >> 10)) ;;
	MiB | M) echo "$amount" ;;
	GiB | G) echo $((amount << 10)) ;;
	*) fail "memory unit '$unit' in $1 is not known here" ;;
	esac
}

# Machine type and firmware. Of the machine only the family matters: the exact
# version in a file is one that the QEMU at hand may not have.
machine_args() {
	local family smm=
	case $(xml "$1" /domain/os/type/@machine) in
	*q35*) family=q35 ;;
	*) family=pc ;;
	esac
	if is_uefi "$1"; then
		! is_secure "$1" || smm=,smm=on
		mapfile -t -O "${#DOMAIN_ARGS[@]}" DOMAIN_ARGS < <(ovmf_args "$2" "${smm:+yes}")
	fi
	DOMAIN_ARGS+=(-machine "$family$smm")
}

is_uefi() {
	[ "$(xml "$1" /domain/os/@firmware)" = efi ] ||
		[ "$(xml "$1" /domain/os/loader/@type)" = pflash ]
}

# is_secure FILE: enrolled keys are what makes firmware that can do Secure Boot
# insist on it.
is_secure() {
	[ "$(xml "$1" "/domain/os/firmware/feature[@name='enrolled-keys']/@enabled")" = yes ] ||
		[ "$(xml "$1" /domain/os/loader/@secure)" = yes ]
}

disk_args() {
	local disk="/domain/devices/disk[@device='disk'][$2]" id=disk$2 source bus controller
	local drive=drive=disk$2,bootindex=$2
	source=$(xml "$1" "$disk/source/@file")
	case $source in
	/*) ;;
	*) source=$(dirname "$1")/$source ;;
	esac
	[ -f "$source" ] || fail "$1 names the disk '$source', which is not there"
	bus=$(xml "$1" "$disk/target/@bus")
	DOMAIN_ARGS+=(-drive "if=none,id=$id,file=${source//,/,,},format=$(xml "$1" "$disk/driver/@type"),snapshot=on")
	case $bus in
	virtio) DOMAIN_ARGS+=(-device "virtio-blk-pci,$drive") ;;
	ide) DOMAIN_ARGS+=(-device "ide-hd,$drive") ;;
	sata)
		add_once -device ich9-ahci,id=ahci
		DOMAIN_ARGS+=(-device "ide-hd,$drive,bus=ahci.$(($2 - 1))")
		;;
	scsi)
		controller=$(scsi_device "$1")
		add_once -device "$controller,id=scsi"
		DOMAIN_ARGS+=(-device "scsi-hd,$drive,bus=scsi.0")
		;;
	*) fail "disk bus '$bus' in $1 is not known here" ;;
	esac
}

# libvirt's names of SCSI controllers, and QEMU's.
scsi_device() {
	local model
	model=$(xml "$1" "/domain/devices/controller[@type='scsi'][1]/@model")
	case $model in
	virtio-scsi) echo virtio-scsi-pci ;;
	'' | auto | lsilogic) echo lsi53c895a ;;
	lsisas1068) echo mptsas1068 ;;
	lsisas1078) echo megasas ;;
	vmpvscsi) echo pvscsi ;;
	*) fail "SCSI controller '$model' in $1 is not known here" ;;
	esac
}

network_args() {
	local interface="/domain/devices/interface[$2]" model mac
	model=$(xml "$1" "$interface/model/@type")
	mac=$(xml "$1" "$interface/mac/@address")
	[ "$model" != virtio ] || model=virtio-net-pci
	DOMAIN_ARGS+=(-netdev "user,id=net$2,restrict=on"
		-device "$model,netdev=net$2${mac:+,mac=$mac}")
}

# add_once OPTION VALUE: unless it is among the arguments already.
add_once() {
	case " ${DOMAIN_ARGS[*]} " in
	*" $1 $2 "*) ;;
	*) DOMAIN_ARGS+=("$1" "$2") ;;
	esac
}
