"""The part of the vim25 interface that the simulator speaks, in the words of pyVmomi.

    schema.py             prints it (this is src/vsphere/schema.txt)
    schema.py FILE        fails where FILE says something else

Lines: `object NAME BASE` and its properties, `call OWNER NAME` and its parameters with the result
last, `data NAME BASE` and its fields, `enum NAME` and its words. `&` marks a reference, `[]` a
list, `?` what may be left out.
"""

import sys

import pyVmomi  # noqa: F401  (registers the types)
from pyVmomi import VmomiSupport as V

OPTIONAL = V.F_OPTIONAL

# Managed objects with the calls that the simulator answers.
OBJECTS = {
    "ManagedEntity": ["Destroy_Task"],
    "ServiceInstance": ["RetrieveServiceContent", "CurrentTime"],
    "SessionManager": ["Login", "Logout", "SessionIsActive", "TerminateSession"],
    "PropertyCollector": [
        "CreateFilter", "RetrieveProperties", "WaitForUpdates", "WaitForUpdatesEx",
        "CancelWaitForUpdates", "RetrievePropertiesEx", "ContinueRetrievePropertiesEx",
        "CancelRetrievePropertiesEx", "CreatePropertyCollector", "DestroyPropertyCollector",
    ],
    "PropertyFilter": ["DestroyPropertyFilter"],
    "ViewManager": ["CreateContainerView"],
    "View": ["DestroyView"],
    "ManagedObjectView": [],
    "ContainerView": [],
    "SearchIndex": ["FindByUuid", "FindByInventoryPath", "FindChild"],
    "OvfManager": ["CreateDescriptor"],
    "Folder": [],
    "Datacenter": [],
    "ComputeResource": [],
    "ClusterComputeResource": [],
    "HostSystem": [],
    "ResourcePool": [],
    "Datastore": [],
    "Network": [],
    "VirtualMachine": [
        "CreateSnapshot_Task", "ConsolidateVMDisks_Task", "CloneVM_Task", "InstantClone_Task",
        "PowerOnVM_Task", "PowerOffVM_Task", "ShutdownGuest", "RebootGuest", "ExportVm", "AcquireTicket", "PutUsbScanCodes",
    ],
    "ExtensibleManagedObject": [],
    "VirtualMachineSnapshot": ["RevertToSnapshot_Task", "RemoveSnapshot_Task", "ExportSnapshot"],
    "Task": ["CancelTask"],
    "CustomizationSpecManager": ["DoesCustomizationSpecExist", "GetCustomizationSpec"],
    "Alarm": [],
    "EventManager": ["CreateCollectorForEvents", "LogUserEvent", "PostEvent"],
    "PerformanceManager": [
        "QueryPerfProviderSummary", "QueryAvailablePerfMetric", "QueryPerf",
    ],
    "HistoryCollector": [
        "SetCollectorPageSize", "RewindCollector", "ResetCollector", "DestroyCollector",
    ],
    "EventHistoryCollector": ["ReadNextEvents", "ReadPreviousEvents"],
    "HttpNfcLease": [
        "HttpNfcLeaseGetManifest", "HttpNfcLeaseSetManifestChecksumType", "HttpNfcLeaseComplete",
        "HttpNfcLeaseAbort", "HttpNfcLeaseProgress",
    ],
}

# Data that it takes or gives.
DATA = """
AboutInfo ServiceContent UserSession
PropertyFilterSpec PropertySpec ObjectSpec SelectionSpec TraversalSpec RetrieveOptions WaitOptions
ObjectContent DynamicProperty MissingProperty RetrieveResult UpdateSet PropertyFilterUpdate
ObjectUpdate PropertyChange LocalizedMethodFault LocalizableMessage KeyAnyValue
TaskInfo TaskReason TaskReasonUser
HttpNfcLeaseInfo HttpNfcLeaseDeviceUrl HttpNfcLeaseManifestEntry HttpNfcLeaseCapabilities
HttpNfcLeaseDatastoreLeaseInfo
OvfCreateDescriptorParams OvfFile OvfCreateDescriptorResult
Description OptionValue VirtualDevice VirtualController VirtualSCSIController VirtualIDEController
VirtualSATAController VirtualAHCIController VirtualNVMEController VirtualPCIController
VirtualLsiLogicController VirtualLsiLogicSASController VirtualBusLogicController
ParaVirtualSCSIController VirtualPS2Controller VirtualSIOController VirtualKeyboard
VirtualPointingDevice VirtualMachineVideoCard VirtualMachineVMCIDevice VirtualTPM
VirtualDisk VirtualCdrom VirtualEthernetCard VirtualE1000 VirtualE1000e VirtualVmxnet
VirtualVmxnet3 SharesInfo StorageIOAllocationInfo VirtualDeviceConnectInfo VirtualDeviceBackingInfo
VirtualDeviceDeviceBackingInfo VirtualDeviceRemoteDeviceBackingInfo
VirtualDeviceFileBackingInfo VirtualDiskFlatVer2BackingInfo VirtualDiskRawDiskMappingVer1BackingInfo
VirtualDiskSeSparseBackingInfo CryptoKeyId KeyProviderId
VirtualMachineTicket UsbScanCodeSpec UsbScanCodeSpecKeyEvent UsbScanCodeSpecModifierType
VirtualSerialPort VirtualDeviceURIBackingInfo VirtualSerialPortURIBackingInfo
VirtualCdromRemotePassthroughBackingInfo VirtualEthernetCardNetworkBackingInfo
VirtualMachineCloneSpec VirtualMachineRelocateSpec VirtualMachineConfigSpec
VirtualMachineInstantCloneSpec
CustomizationSpec CustomizationSpecInfo CustomizationSpecItem CustomizationOptions
CustomizationLinuxOptions CustomizationWinOptions CustomizationIdentitySettings
CustomizationLinuxPrep CustomizationSysprep CustomizationCloudinitPrep CustomizationGuiUnattended
CustomizationPassword CustomizationUserData CustomizationIdentification
CustomizationLicenseFilePrintData CustomizationName CustomizationVirtualMachineName
CustomizationFixedName CustomizationPrefixName CustomizationUnknownName
CustomizationGlobalIPSettings CustomizationAdapterMapping CustomizationIPSettings
CustomizationIpGenerator CustomizationDhcpIpGenerator CustomizationFixedIp
CustomizationUnknownIpGenerator
VirtualMachineConfigInfo VirtualHardware VirtualMachineBootOptions VirtualMachineFileInfo
VirtualMachineFlagInfo VirtualMachineDefaultPowerOpInfo ToolsConfigInfo
VirtualMachineConfigInfoDatastoreUrlPair ResourceAllocationInfo
VirtualMachineConfigSummary VirtualMachineGuestSummary VirtualMachineQuickStats
VirtualMachineRuntimeInfo VirtualMachineStorageSummary VirtualMachineSummary
VirtualMachineCapability GuestInfo GuestNicInfo GuestStackInfo NetIpConfigInfo
NetIpConfigInfoIpAddress GuestScreenInfo
VirtualMachineFileLayoutEx VirtualMachineFileLayoutExFileInfo VirtualMachineFileLayoutExDiskLayout
VirtualMachineFileLayoutExDiskUnit VirtualMachineFileLayoutExSnapshotLayout
VirtualMachineSnapshotInfo VirtualMachineSnapshotTree VirtualMachineStorageInfo KeyValue
VirtualMachineUsageOnDatastore VirtualMachineAffinityInfo
DatastoreInfo VmfsDatastoreInfo DatastoreSummary DatastoreCapability DatastoreHostMount
HostMountInfo NetworkSummary HostListSummary HostHardwareSummary HostRuntimeInfo
HostConfigSummary HostListSummaryQuickStats ComputeResourceSummary ClusterComputeResourceSummary
ResourcePoolRuntimeInfo
DynamicData MethodFault VimFault RuntimeFault InvalidLogin NotAuthenticated NoPermission
ManagedObjectNotFound NotSupported InvalidArgument InvalidRequest InvalidProperty InvalidType
MethodNotFound InvalidPowerState InvalidState NotFound TaskInProgress ToolsUnavailable Timedout
SnapshotFault FileLocked FileFault CannotAccessFile HostCommunication HostNotConnected
InvalidCollectorVersion SecurityError UnexpectedFault SystemError HostConnectFault
Event VmEvent VmPoweredOnEvent VmPoweredOffEvent GeneralEvent GeneralUserEvent EventArgument
EntityEventArgument VmEventArgument HostEventArgument DatacenterEventArgument
ComputeResourceEventArgument EventFilterSpec EventFilterSpecByEntity EventFilterSpecByTime
EventFilterSpecByUsername EventDescription EventDescriptionEventDetail ElementDescription
PerfInterval PerfCounterInfo PerfQuerySpec PerfMetricId PerfProviderSummary PerfEntityMetricBase
PerfEntityMetric PerfSampleInfo PerfMetricSeries PerfMetricIntSeries PerformanceDescription
AlarmState AlarmInfo AlarmSpec AlarmExpression StateAlarmExpression
RequestCanceled CustomizationFault NicSettingMismatch CannotDecryptPasswords
InsufficientResourcesFault ResourceInUse DuplicateName HttpFault ConcurrentAccess LimitExceeded
""".split()

XSD = {
    "str": "string", "int": "int", "long": "long", "short": "short", "byte": "byte",
    "bool": "boolean", "datetime": "dateTime", "double": "double", "float": "float",
    "object": "anyType", "binary": "base64Binary", "type": "string", "PropertyPath": "string",
    "ManagedMethod": "string", "uri": "anyURI", "void": "void", "NoneType": "void",
}


def word(kind):
    """A type as the schema writes it."""
    if kind is None:
        return "void"
    if isinstance(kind, type) and issubclass(kind, list):
        return word(kind.Item) + "[]"
    if isinstance(kind, type) and issubclass(kind, V.ManagedObject):
        return "&" + V.GetWsdlName(kind)
    if kind.__name__ in XSD:
        return XSD[kind.__name__]
    if isinstance(kind, type) and issubclass(kind, Exception):
        return "LocalizedMethodFault"
    return V.GetWsdlName(kind)


def member(info):
    return info.name + " " + word(info.type) + ("?" if info.flags & OPTIONAL else "")


def result(method):
    kind = word(method.result)
    return kind + ("?" if method.resultFlags & OPTIONAL else "")


# Not as the interface has it, but as the wire does: what pyVmomi turns into its own exceptions, and
# a call that is in no WSDL and that every server answers.
BY_HAND = {
    "data LocalizedMethodFault ": "DynamicData: fault MethodFault; localizedMessage string?",
    "data MethodFault ": "DynamicData: faultCause LocalizedMethodFault?; "
                         "faultMessage LocalizableMessage[]?",
}
FETCH = "call ManagedObject Fetch: prop string; = anyType?"


def found(name):
    return V.GetWsdlType("urn:vim25", name)


def line(*parts):
    head, members = parts[0], parts[1:]
    return head + (": " + "; ".join(members) if members else "")


def schema():
    """All lines."""
    lines, enums = [FETCH], set()

    def note(kind):
        if isinstance(kind, type) and issubclass(kind, list):
            kind = kind.Item
        if isinstance(kind, type) and issubclass(kind, V.Enum):
            enums.add(V.GetWsdlName(kind))

    def own(kind, infos):
        below = set()
        for base in kind.__mro__[1:]:
            below |= {p.name for p in getattr(base, "_propList", [])}
        return [p for p in infos if p.name not in below]

    for name, calls in OBJECTS.items():
        kind = found(name)
        properties = own(kind, list(kind._propList))
        base = kind.__mro__[1]
        base = "-" if base is V.ManagedObject else V.GetWsdlName(base)
        lines.append(line(f"object {name} {base}", *map(member, properties)))
        for info in properties:
            note(info.type)
        by_wsdl = {}
        for base in kind.__mro__:
            for method in getattr(base, "_methodInfo", {}).values():
                by_wsdl[method.wsdlName] = method
        for call in calls:
            method = by_wsdl[call]
            lines.append(line(f"call {name} {call}", *map(member, method.params),
                              "= " + result(method)))
            for info in method.params:
                note(info.type)
    for name in sorted(DATA):
        kind = found(name)
        fields = own(kind, list(kind._propList))
        base = kind.__mro__[1]
        base = "-" if not hasattr(base, "_wsdlName") or base._wsdlName in (None, name) \
            else base._wsdlName
        if base in ("DataObject", "Exception") or name == "DynamicData":
            base = "-"
        head = f"data {name} "
        by_hand = BY_HAND.get(head)
        lines.append(head + by_hand if by_hand else line(head + base, *map(member, fields)))
        for info in fields:
            note(info.type)
    for name in sorted(enums):
        lines.append(f"enum {name}: " + "; ".join(found(name).values))
    lines.append("known: " + "; ".join(managed_kinds()))
    return lines


def managed_kinds():
    """The names of all managed objects of vim25, whether simulated or not."""
    kinds = [kind for kind in V.GetWsdlTypes()
             if issubclass(kind, V.ManagedObject) and V.GetQualifiedWsdlName(kind)[0] == "urn:vim25"]
    return sorted(V.GetWsdlName(kind) for kind in kinds)


def main():
    lines = schema()
    if len(sys.argv) == 1:
        print("\n".join(lines))
        return
    with open(sys.argv[1]) as file:
        theirs = [text for text in file.read().splitlines() if text and text[0] != "#"]
    for text in sorted(set(lines) ^ set(theirs)):
        print("pyVmomi:" if text in lines else "here:   ", text)
    sys.exit(lines != theirs)


main()
