# shellcheck shell=bash
# Makes the packages that the tests begin with, the way other tools write them:
# disks by qemu-img, the descriptor by hand after the OVF 1.1 schema and what
# VMware adds to it, the archive by tar.

# new_ova FILE NAME FIRMWARE RAW...: an OVA with a checksum manifest. FIRMWARE
# is bios (disks on a SCSI controller, an e1000), efi (SATA, a vmxnet3) or
# secure, which is efi with Secure Boot.
new_ova() {
	local file=$1 name=$2 firmware=$3 dir=$1.parts raw n=0 parts=()
	shift 3
	mkdir "$dir"
	for raw in "$@"; do
		n=$((n + 1))
		"$HYPER_TB_QEMU_IMG" convert -f raw -O vmdk -o subformat=streamOptimized \
			"$raw" "$dir/$name-disk$n.vmdk"
		parts+=("$name-disk$n.vmdk")
	done
	descriptor "$dir" "$name" "$firmware" "$@" >"$dir/$name.ovf"
	(
		cd "$dir" || exit
		for raw in "$name.ovf" "${parts[@]}"; do
			printf 'SHA256(%s)= %s\n' "$raw" "$(sha256sum "$raw" | cut -d' ' -f1)"
		done >"$name.mf"
		tar --format=ustar -cf "$file" "$name.ovf" "$name.mf" "${parts[@]}"
	)
	rm -rf "$dir"
}

# descriptor DIR NAME FIRMWARE RAW...
descriptor() {
	local dir=$1 name=$2 firmware=$3
	shift 3
	cat <<-END
		<?xml version="1.0" encoding="UTF-8"?>
		<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
		    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
		    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
		    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
		    xmlns:vmw="http://www.vmware.com/schema/ovf">
		  <References>$(references "$dir" "$name" $#)</References>
		  <DiskSection><Info>Disks</Info>$(disk_section "$@")</DiskSection>
		  <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"/></NetworkSection>
		  <VirtualSystem ovf:id="$name">
		    <Info>A virtual machine</Info>
		    <Name>$name</Name>
		    <OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"><Info>Debian 12</Info></OperatingSystemSection>
		    <VirtualHardwareSection>
		      <Info>Hardware</Info>
		      <System><vssd:ElementName>Hardware</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>$name</vssd:VirtualSystemIdentifier><vssd:VirtualSystemType>vmx-14</vssd:VirtualSystemType></System>
		      $(hardware "$firmware" $#)
		      $(firmware_config "$firmware")
		    </VirtualHardwareSection>
		  </VirtualSystem>
		</Envelope>
	END
}

firmware_config() {
	case $1 in
	secure)
		config firmware efi
		config bootOptions.efiSecureBootEnabled true
		;;
	*) config firmware "$1" ;;
	esac
}

config() { printf '<vmw:Config ovf:required="false" vmw:key="%s" vmw:value="%s"/>' "$1" "$2"; }

references() {
	local n
	for ((n = 1; n <= $3; n++)); do
		printf '<File ovf:id="file%d" ovf:href="%s-disk%d.vmdk" ovf:size="%d"/>' \
			"$n" "$2" "$n" "$(stat -c %s "$1/$2-disk$n.vmdk")"
	done
}

disk_section() {
	local raw n=0
	for raw in "$@"; do
		n=$((n + 1))
		printf '<Disk ovf:diskId="disk%d" ovf:fileRef="file%d" ovf:capacity="%d" ovf:format="%s"/>' \
			"$n" "$n" "$(stat -c %s "$raw")" \
			http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized
	done
}

# hardware FIRMWARE DISKS: CIM's resource types 3 processor, 4 memory, 6 SCSI,
# 10 network, 17 disk, 20 other storage (SATA). The elements of an item come in
# the order of their names, as the schema wants.
hardware() {
	local n bus=20 kind=vmware.sata.ahci network=VmxNet3
	[ "$1" != bios ] || { bus=6 kind=lsilogic network=E1000; }
	item 'hertz * 10^6' '2 CPUs' 1 3 'VirtualQuantity=2'
	item 'byte * 2^20' '512 MB of memory' 2 4 'VirtualQuantity=512'
	printf '<Item><rasd:Address>0</rasd:Address><rasd:ElementName>Controller</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceSubType>%s</rasd:ResourceSubType><rasd:ResourceType>%d</rasd:ResourceType></Item>' \
		"$kind" "$bus"
	for ((n = 1; n <= $2; n++)); do
		printf '<Item><rasd:AddressOnParent>%d</rasd:AddressOnParent><rasd:ElementName>Disk %d</rasd:ElementName><rasd:HostResource>ovf:/disk/disk%d</rasd:HostResource><rasd:InstanceID>%d</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>' \
			$((n - 1)) "$n" "$n" $((n + 3))
	done
	printf '<Item><rasd:Address>00:50:56:12:34:56</rasd:Address><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation><rasd:Connection>VM Network</rasd:Connection><rasd:ElementName>Network</rasd:ElementName><rasd:InstanceID>20</rasd:InstanceID><rasd:ResourceSubType>%s</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>' \
		"$network"
}

# item UNITS NAME ID TYPE VirtualQuantity=N
item() {
	printf '<Item><rasd:AllocationUnits>%s</rasd:AllocationUnits><rasd:ElementName>%s</rasd:ElementName><rasd:InstanceID>%d</rasd:InstanceID><rasd:ResourceType>%d</rasd:ResourceType><rasd:%s>%d</rasd:%s></Item>' \
		"$1" "$2" "$3" "$4" "${5%=*}" "${5#*=}" "${5%=*}"
}
