"""Makes the calls of a simulated vSphere as a program with pyVmomi does: client.py HOST:PORT.

The machines are those that are there when none were asked for, app01 running.
"""

import asyncio
import hashlib
import ssl
import sys
import threading
import time
import urllib.request
from datetime import timedelta

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask, WaitForTasks
from pyVmomi import vim, vmodl
import websockets

ADDRESS = sys.argv[1]
HOST, PORT = ADDRESS.split(":")
PC = vmodl.query.PropertyCollector
ANY_CERTIFICATE = ssl._create_unverified_context()


def connect(password="pass"):
    return SmartConnect(host=HOST, port=int(PORT), user="user", pwd=password,
                        disableSslCertValidation=True)


def raises(kind, call, *args):
    try:
        call(*args)
    except kind as error:
        return error
    raise AssertionError(f"{call} did not raise {kind}")


def sessions():
    raises(vim.fault.InvalidLogin, connect, "wrong")
    si = connect()
    content = si.RetrieveContent()
    manager = content.sessionManager
    assert content.about.apiVersion == "8.0.3.0", content.about
    raises(vim.fault.InvalidLogin, manager.Login, "user", "pass")
    key = manager.currentSession.key
    assert manager.SessionIsActive(key, "user") and not manager.SessionIsActive(key, "nobody")
    other = connect()
    theirs = other.content.sessionManager.currentSession.key
    assert {key, theirs} <= {session.key for session in manager.sessionList}
    manager.TerminateSession([theirs])
    raises(vim.fault.NotAuthenticated, lambda: other.content.sessionManager.currentSession.key
           or other.CurrentTime())
    raises(vmodl.fault.InvalidArgument, manager.TerminateSession, [key])
    assert si.CurrentTime() and content.sessionManager.defaultLocale == "en"
    return si


def events(si, machines):
    """The history forwards, backwards and by filters, and the latest page as it grows."""
    manager, web = si.content.eventManager, machines["web01"]
    kinds = vim.event
    info = {detail.key: detail.category for detail in manager.description.eventInfo}
    assert info[kinds.VmPoweredOnEvent] == "info" and manager.maxCollector, info
    collector = manager.CreateCollectorForEvents(kinds.EventFilterSpec())
    collector.SetLatestPageSize(2)
    raises(vmodl.fault.InvalidArgument, collector.SetLatestPageSize, 1001)
    first = collector.ReadNextEvents(2)
    rest = collector.ReadNextEvents(1000)
    assert [event.key for event in first + rest] == [1, 2, 3, 4, 5], first + rest
    assert not collector.ReadNextEvents(10)
    assert [event.key for event in collector.ReadPreviousEvents(2)] == [5, 4]
    collector.Rewind()
    assert collector.ReadNextEvents(1)[0].key == 1
    collector.Reset()
    WaitForTask(web.PowerOn())
    [on] = collector.ReadNextEvents(10)
    assert isinstance(on, kinds.VmPoweredOnEvent) and on.vm.vm == web and on.userName == "user"
    assert on.host.name and on.fullFormattedMessage.endswith("is powered on")
    assert {event.key for event in collector.latestPage} == {5, 6}
    WaitForTask(web.PowerOff())
    assert {event.key for event in collector.latestPage} == {6, 7}
    collector.Remove()
    raises(vmodl.fault.ManagedObjectNotFound, collector.ReadNextEvents, 1)
    about = kinds.EventFilterSpec.ByEntity(entity=si.content.rootFolder.childEntity[0], recursion="all")
    spec = kinds.EventFilterSpec(entity=about, eventTypeId=["VmPoweredOffEvent"],
                                 time=kinds.EventFilterSpec.ByTime(beginTime=on.createdTime))
    collector = manager.CreateCollectorForEvents(spec)
    assert [event.key for event in collector.ReadNextEvents(9)] == [7]
    collector.Remove()
    manager.LogUserEvent(web, "patched <1>")
    said = manager.latestEvent
    assert (said.message, said.vm.vm, said.userName) == ("patched <1>", web, "user"), said
    common = {"key": 0, "chainId": 0, "createdTime": on.createdTime, "userName": ""}
    manager.PostEvent(kinds.GeneralUserEvent(message="posted", **common))
    assert manager.latestEvent.fullFormattedMessage == "posted" and manager.latestEvent.key == 9
    other = kinds.VmPoweredOnEvent(template=False, **common)
    raises(vmodl.fault.InvalidArgument, manager.PostEvent, other)


def performance(si, machines):
    """Counters, rollups, and samples of them."""
    manager, app, web = si.content.perfManager, machines["app01"], machines["web01"]
    spec = vim.PerformanceManager.QuerySpec
    kinds = {(it.groupInfo.key, it.nameInfo.key, it.rollupType): it.key for it in manager.perfCounter}
    usage = vim.PerformanceManager.MetricId(counterId=kinds["cpu", "usage", "average"], instance="")
    assert manager.description.statsType[0].key and len(kinds) == 8
    intervals = [(it.samplingPeriod, it.length) for it in manager.historicalInterval]
    day = 36 * 3600 if content_is_host(si) else 24 * 3600
    assert intervals[0] == (300, day) and len(intervals) == (1 if content_is_host(si) else 4)
    summary = manager.QueryPerfProviderSummary(app)
    assert summary.currentSupported and summary.refreshRate == 20
    assert len(manager.QueryAvailablePerfMetric(app)) == 8
    [now] = manager.QueryPerf([spec(entity=app, metricId=[usage], intervalId=20, maxSample=3)])
    times = [it.timestamp for it in now.sampleInfo]
    assert [later - earlier for earlier, later in zip(times, times[1:])] == [timedelta(seconds=20)] * 2
    [hour] = manager.QueryPerf([spec(entity=app, intervalId=20)])
    assert 179 <= len(hour.sampleInfo) <= 181 and len(hour.value) == 8, len(hour.sampleInfo)
    [past] = manager.QueryPerf([spec(entity=app, metricId=[usage], intervalId=300,
                                     startTime=times[2] - timedelta(hours=2), endTime=times[2])])
    assert len(past.sampleInfo) == 24 == len(past.value[0].value)
    assert all(it.timestamp.timestamp() % 300 == 0 for it in past.sampleInfo)
    assert manager.QueryPerf([spec(entity=web, intervalId=20)]) == [], "it is off"
    raises(vmodl.fault.InvalidArgument, manager.QueryPerf, [spec(entity=app, intervalId=21)])
    raises(vmodl.fault.InvalidArgument, manager.QueryPerf, [spec(entity=app, intervalId=300)] * 9)
    raises(vmodl.fault.InvalidArgument, manager.QueryPerf,
           [spec(entity=si.content.rootFolder, intervalId=20)])


def content_is_host(si):
    return si.content.about.apiType == "HostAgent"


def listing(si):
    """All machines by name, from a container view in pages of two."""
    content = si.RetrieveContent()
    collector = content.propertyCollector
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    along = PC.TraversalSpec(name="view", path="view", skip=False, type=vim.ContainerView)
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[along])],
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "config.hardware"])])
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=2))
    assert len(page.objects) == 2, page
    last = collector.ContinueRetrievePropertiesEx(page.token)
    assert len(last.objects) == 1 and last.token is None, last
    raises(vmodl.fault.InvalidArgument, collector.ContinueRetrievePropertiesEx, page.token)
    page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=1))
    collector.CancelRetrievePropertiesEx(page.token)
    raises(vmodl.fault.InvalidArgument, collector.ContinueRetrievePropertiesEx, page.token)
    assert len(collector.RetrieveContents([spec])) == 3
    spec.propSet[0].pathSet = ["colour"]
    raises(vmodl.query.InvalidProperty, collector.RetrieveContents, [spec])
    machines = {machine.name: machine for machine in view.view}
    view.Destroy()
    raises(vmodl.fault.ManagedObjectNotFound, lambda: view.view)
    return machines


def everything(si, machines):
    """Each property of each object, so that what cannot be read shows."""
    content = si.RetrieveContent()
    centre = content.rootFolder.childEntity[0]
    cluster = centre.hostFolder.childEntity[0]
    objects = list(machines.values()) + [
        content.rootFolder, centre, centre.vmFolder, cluster, cluster.host[0],
        cluster.resourcePool, centre.datastore[0], centre.network[0], content.sessionManager]
    for it in objects:
        spec = PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=it)],
                             propSet=[PC.PropertySpec(type=type(it), all=True)])
        [found] = content.propertyCollector.RetrieveContents([spec])
        assert found.propSet and not found.missingSet, it
        for prop in found.propSet:
            assert str(getattr(it, prop.name)), (it, prop.name)
    disks = [device for device in machines["db01"].config.hardware.device
             if isinstance(device, vim.vm.device.VirtualDisk)]
    assert [disk.unitNumber for disk in disks] == [0, 1] and disks[0].backing.thinProvisioned
    cards = [device for device in machines["db01"].config.hardware.device
             if isinstance(device, vim.vm.device.VirtualVmxnet3)]
    assert cards[1].backing.network.name == "lab" and cards[1].macAddress
    options = {option.key: option.value for option in machines["db01"].config.extraConfig}
    assert options["nvram"] == "db01.nvram", options


def alarms(si, machines):
    """What is triggered, seen from the root, from the machine and from another one."""
    root = si.content.rootFolder
    found = {state.entity.name: state for state in root.triggeredAlarmState}
    assert set(found) == {"web01", "db01"}, found
    db, web = found["db01"], found["web01"]
    assert db.overallStatus == "red" and not db.acknowledged and db.time
    assert web.overallStatus == "yellow" and web.acknowledgedByUser == "jo"
    assert db.alarm.info.name == "Virtual machine heartbeat" and db.alarm == web.alarm
    assert [state.key for state in machines["db01"].triggeredAlarmState] == [db.key]
    assert not machines["app01"].triggeredAlarmState


def searching(si, machines):
    index, web = si.content.searchIndex, machines["web01"]
    centre = si.content.rootFolder.childEntity[0].name
    assert index.FindByInventoryPath(f"{centre}/vm/web01") == web
    assert index.FindByInventoryPath(f"{centre}/vm/nothing") is None
    assert index.FindByUuid(None, web.config.uuid, True) == web
    assert index.FindByUuid(None, web.config.instanceUuid, True, True) == web
    assert index.FindByUuid(None, web.config.instanceUuid, True, False) is None
    assert index.FindChild(web.parent, "db01") == machines["db01"]


def power(machines):
    web, app = machines["web01"], machines["app01"]
    WaitForTasks([web.PowerOn()])
    assert web.runtime.powerState == "poweredOn" and web.guest.ipAddress
    raises(vim.fault.InvalidPowerState, web.PowerOn)
    WaitForTask(web.PowerOff())
    raises(vim.fault.InvalidPowerState, web.ShutdownGuest)
    raises(vim.fault.InvalidPowerState, web.RebootGuest)
    app.ShutdownGuest()
    while app.runtime.powerState == "poweredOn":
        time.sleep(0.05)
    WaitForTask(app.PowerOn())
    app.RebootGuest()
    assert app.runtime.powerState == "poweredOn"


def snapshots(machines):
    app = machines["app01"]
    raises(vim.fault.InvalidPowerState, app.ExportVm)
    for name in ("one", "two", "three"):
        task = app.CreateSnapshot(name, "for a test", False, True)
        WaitForTask(task)
        assert task.info.result == app.snapshot.currentSnapshot
    one = app.snapshot.rootSnapshotList[0]
    assert one.name == "one" and one.quiesced and one.childSnapshotList[0].name == "two"
    backing = [device for device in app.config.hardware.device
               if isinstance(device, vim.vm.device.VirtualDisk)][0].backing
    assert backing.fileName.endswith("-000003.vmdk") and backing.parent.parent.parent, backing
    assert one.snapshot.config.name == "app01" and one.snapshot.vm == app
    first, second, third = app.layoutEx.snapshot
    assert (first.key, first.memoryKey) == (one.snapshot, -1) and first.dataKey > 0
    assert [len(it.disk[0].chain) for it in (first, second, third)] == [1, 2, 3]
    WaitForTask(one.childSnapshotList[0].snapshot.RevertToSnapshot_Task())
    assert app.snapshot.currentSnapshot == one.childSnapshotList[0].snapshot
    assert app.runtime.powerState == "poweredOff"
    assert not app.runtime.consolidationNeeded
    WaitForTask(app.ConsolidateVMDisks_Task())
    WaitForTask(one.childSnapshotList[0].childSnapshotList[0].snapshot.RevertToSnapshot_Task())
    WaitForTask(one.childSnapshotList[0].snapshot.RemoveSnapshot_Task(False, True))
    assert one.snapshot.childSnapshot[0] == app.snapshot.currentSnapshot
    lease = one.snapshot.ExportSnapshot()
    fetch(lease, 1)
    WaitForTask(one.snapshot.RemoveSnapshot_Task(True))
    assert app.snapshot is None and not app.rootSnapshot


def clones(si, machines):
    """Full and linked clones, where there is a vCenter."""
    web = machines["web01"]
    WaitForTask(web.CreateSnapshot("base", "", False, False))
    base = web.snapshot.currentSnapshot
    option = vim.option.OptionValue(key="note", value="a test")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(diskMoveType="createNewChildDiskBacking"),
                            template=False, powerOn=False, snapshot=base,
                            config=vim.vm.ConfigSpec(extraConfig=[option]))
    if si.content.about.apiType == "HostAgent":
        raises(vmodl.fault.NotSupported, web.Clone, web.parent, "copy", spec)
        WaitForTask(web.PowerOn())
        raises(vim.fault.InvalidPowerState, web.Destroy)
        WaitForTask(web.PowerOff())
        WaitForTask(base.RemoveSnapshot_Task(True))
        return
    task = web.Clone(web.parent, "copy", spec)
    WaitForTask(task)
    copy = task.info.result
    disk = [device for device in copy.config.hardware.device
            if isinstance(device, vim.vm.device.VirtualDisk)][0]
    assert "copy" in disk.backing.fileName and "web01" in disk.backing.parent.fileName
    assert ("note", "a test") in [(it.key, it.value) for it in copy.config.extraConfig]
    assert copy.config.instanceUuid != web.config.instanceUuid
    raises(vim.fault.DuplicateName, web.Clone, web.parent, "copy", spec)
    spec.snapshot = None
    raises(vmodl.fault.InvalidArgument, web.Clone, web.parent, "other", spec)
    WaitForTask(copy.Destroy())
    assert not si.content.searchIndex.FindChild(web.parent, "copy")
    WaitForTask(base.RemoveSnapshot_Task(True))


def instant(si, machines):
    """A clone that goes on where its source is."""
    app, web = machines["app01"], machines["web01"]
    if app.runtime.powerState != "poweredOn":
        WaitForTask(app.PowerOn())
    option = vim.option.OptionValue(key="note", value="a twin")
    spec = vim.vm.InstantCloneSpec(
        name="twin", location=vim.vm.RelocateSpec(folder=app.parent), config=[option])
    if content_is_host(si):
        raises(vmodl.fault.NotSupported, app.InstantClone_Task, spec)
        return
    raises(vim.fault.InvalidPowerState, web.InstantClone_Task, spec)
    task = app.InstantClone_Task(spec)
    WaitForTask(task)
    twin = task.info.result
    assert twin.runtime.powerState == "poweredOn" and twin.runtime.host == app.runtime.host
    assert twin.guest.toolsRunningStatus == app.guest.toolsRunningStatus
    assert (twin.guest.hostName, twin.guest.ipAddress) == (app.guest.hostName, app.guest.ipAddress)
    assert twin.guest.net[0].macAddress != app.guest.net[0].macAddress
    assert twin.config.instanceUuid != app.config.instanceUuid
    assert ("note", "a twin") in [(it.key, it.value) for it in twin.config.extraConfig]
    disk = [device for device in twin.config.hardware.device
            if isinstance(device, vim.vm.device.VirtualDisk)][0]
    assert "twin" in disk.backing.fileName and "app01" in disk.backing.parent.fileName
    raises(vim.fault.DuplicateName, app.InstantClone_Task, spec)
    spec.name, spec.location.host = "other", app.runtime.host
    raises(vmodl.fault.NotSupported, app.InstantClone_Task, spec)
    WaitForTask(twin.PowerOff())
    WaitForTask(twin.Destroy())


def customizations(si, machines):
    """Specifications of guests, and clones that are given them."""
    web, manager = machines["web01"], si.content.customizationSpecManager
    if content_is_host(si):
        assert manager is None
        manager = vim.CustomizationSpecManager("CustomizationSpecManager", si._stub)
        raises(vmodl.fault.ManagedObjectNotFound, manager.DoesCustomizationSpecExist, "linux")
        raises(vmodl.fault.ManagedObjectNotFound, manager.GetCustomizationSpec, "linux")
        return
    assert {"linux", "windows"} <= {info.name for info in manager.info}
    assert manager.DoesCustomizationSpecExist("linux")
    assert not manager.DoesCustomizationSpecExist("nothing")
    raises(vim.fault.NotFound, manager.GetCustomizationSpec, "nothing")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), template=False, powerOn=False)

    def made(name, on):
        custom = manager.GetCustomizationSpec(name)
        assert custom.info.name == name, custom
        spec.customization, spec.powerOn = custom.spec, on
        task = web.Clone(web.parent, "copy", spec)
        WaitForTask(task)
        return task.info.result

    copy = made("windows", True)
    assert copy.guest.hostName == "copy" and not copy.config.tools.pendingCustomization
    WaitForTask(copy.PowerOff())
    WaitForTask(copy.Destroy())
    copy = made("linux-fixed", False)
    assert copy.config.tools.pendingCustomization and not copy.guest.hostName
    WaitForTask(copy.PowerOn())
    assert (copy.guest.hostName, copy.guest.ipAddress) == ("golden", "10.9.0.5")
    assert not copy.config.tools.pendingCustomization
    WaitForTask(copy.PowerOff())
    WaitForTask(copy.Destroy())
    raises(vmodl.fault.InvalidArgument, made, "linux-ask", False)
    spec.customization = manager.GetCustomizationSpec("windows").spec
    spec.customization.encryptionKey = manager.GetCustomizationSpec("linux").spec.encryptionKey[:1]
    raises(vim.fault.CannotDecryptPasswords, web.Clone, web.parent, "copy", spec)
    spec.customization.nicSettingMap = []
    few = raises(vim.fault.NicSettingMismatch, web.Clone, web.parent, "copy", spec)
    assert (few.numberOfNicsInSpec, few.numberOfNicsInVM) == (0, 1), few


def calling_off(si, machines):
    """A task that is ended before its time, and one that has ended."""
    web = machines["web01"]
    task = web.CreateSnapshot("a", "", False, False)
    WaitForTask(task)
    raises(vim.fault.InvalidState, task.CancelTask)
    WaitForTask(task.info.result.RemoveSnapshot_Task(True))
    if content_is_host(si):
        return
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), template=False, powerOn=False)
    slow = web.Clone(web.parent, "slow", spec)
    assert slow.info.cancelable and not slow.info.cancelled and slow.info.progress < 50
    slow.CancelTask()
    raises(vmodl.fault.RequestCanceled, WaitForTask, slow)
    assert slow.info.cancelled and slow.info.state == "error" and not slow.info.cancelable
    assert not si.content.searchIndex.FindChild(web.parent, "slow")


def fetch(lease, files):
    """Everything of a lease, held against its manifest."""
    while lease.state == "initializing":
        time.sleep(0.02)
    assert lease.state == "ready" and lease.info.leaseTimeout == 300
    assert len(lease.info.deviceUrl) == files, lease.info
    lease.HttpNfcLeaseSetManifestChecksumType(
        [vim.KeyValue(key=device.key, value="sha256") for device in lease.info.deviceUrl])
    sums = {}
    for number, device in enumerate(lease.info.deviceUrl):
        url = device.url.replace("*", ADDRESS)
        data = urllib.request.urlopen(url, context=ANY_CERTIFICATE).read()
        sums[device.key] = (hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(),
                            len(data))
        lease.HttpNfcLeaseProgress(100 * (number + 1) // files)
    assert lease.transferProgress == 100
    for entry in lease.HttpNfcLeaseGetManifest():
        assert (entry.checksum, entry.sha1, entry.size) == sums.pop(entry.key), entry
        assert entry.checksumType == "sha256" and entry.disk == (entry.capacity is not None)
    assert not sums
    lease.HttpNfcLeaseComplete()
    assert lease.state == "done" and lease.info is None
    raises(vim.fault.InvalidState, lease.HttpNfcLeaseProgress, 100)


def exports(si, machines):
    db = machines["db01"]
    lease = db.ExportVm()
    raises(vim.fault.InvalidState, db.PowerOn)
    fetch(lease, 3)
    aborted = db.ExportVm()
    aborted.HttpNfcLeaseAbort(vmodl.fault.SystemError(reason="a test"))
    assert aborted.state == "error" and aborted.error
    raises(vim.fault.InvalidState, aborted.HttpNfcLeaseAbort, None)
    files = [vim.OvfManager.OvfFile(deviceId=f"/{db._moId}/ParaVirtualSCSIController0:0",
                                    path="a.vmdk", size=1)]
    params = vim.OvfManager.CreateDescriptorParams(name="x", ovfFiles=files)
    made = si.content.ovfManager.CreateDescriptor(db, params)
    assert 'ovf:href="a.vmdk"' in made.ovfDescriptor
    params.ovfFiles[0].deviceId = "/nothing"
    raises(vmodl.fault.InvalidArgument, si.content.ovfManager.CreateDescriptor, db, params)


def watching(si, machines):
    """Filters and waits, on a collector of one's own."""
    web = machines["web01"]
    collector = si.content.propertyCollector.CreatePropertyCollector()
    spec = PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=web)], propSet=[
        PC.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])])
    watch = collector.CreateFilter(spec, True)
    first = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=10))
    assert first.filterSet[0].objectSet[0].changeSet[0].val == "poweredOff"
    assert collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0)) is None
    web.PowerOn()
    then = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=10))
    change = then.filterSet[0].objectSet[0]
    assert change.kind == "modify" and change.changeSet[0].val == "poweredOn", then
    raises(vmodl.query.InvalidCollectorVersion, collector.WaitForUpdatesEx, first.version)
    waiter = threading.Timer(0.2, collector.CancelWaitForUpdates)
    waiter.start()
    raises(vmodl.RuntimeFault, collector.WaitForUpdatesEx, then.version)
    waiter.join()
    watch.Destroy()
    raises(vmodl.fault.ManagedObjectNotFound, watch.Destroy)
    collector.Destroy()
    raises(vmodl.fault.ManagedObjectNotFound, collector.WaitForUpdatesEx, "")
    WaitForTask(web.PowerOff())


def consoles(si, machines):
    """A ticket for the screen and keys, of a machine that runs and of one that does not."""
    app, web = machines["app01"], machines["web01"]
    if app.runtime.powerState != "poweredOn":
        WaitForTask(app.PowerOn())
    raises(vim.fault.InvalidPowerState, web.AcquireTicket, "webmks")
    raises(vmodl.fault.NotSupported, app.AcquireTicket, "mks")
    ticket = app.AcquireTicket("webmks")
    assert ticket.url == f"wss://{ADDRESS}/ticket/{ticket.ticket}", ticket
    assert (ticket.host, ticket.port) == (HOST, int(PORT)) and len(ticket.sslThumbprint) == 59
    event = vim.UsbScanCodeSpec.KeyEvent
    held = vim.UsbScanCodeSpec.ModifierType(leftControl=True, leftAlt=True)
    spec = vim.UsbScanCodeSpec(keyEvents=[
        event(usbHidCode=0x4C << 16 | 7, modifiers=held), event(usbHidCode=0x04 << 16 | 7)])
    assert app.PutUsbScanCodes(spec) == 2
    spec.keyEvents[0].usbHidCode = 5
    raises(vmodl.fault.InvalidArgument, app.PutUsbScanCodes, spec)
    raises(vim.fault.InvalidPowerState, web.PutUsbScanCodes, spec)
    picture = urllib.request.Request(f"https://{ADDRESS}/screen?id={app._moId}")
    picture.add_header("Cookie", si._stub.cookie.split(";")[0])
    data = urllib.request.urlopen(picture, context=ANY_CERTIFICATE).read()
    assert data.startswith(b"\x89PNG\r\n") and b"IEND" in data
    asyncio.run(screen(ticket.url))
    [port] = [device for device in app.config.hardware.device
              if isinstance(device, vim.vm.device.VirtualSerialPort)]
    backing = port.backing
    assert isinstance(backing, vim.vm.device.VirtualSerialPort.URIBackingInfo), port
    assert backing.direction == "server" and backing.serviceURI.startswith("telnet://"), backing


async def screen(url):
    """The screen of a ticket, by RFB in a WebSocket, as noVNC takes it."""
    async with websockets.connect(url, subprotocols=["binary"], ssl=ANY_CERTIFICATE) as line:
        assert await line.recv() == b"RFB 003.008\n" and line.subprotocol == "binary"
    try:
        async with websockets.connect(url, subprotocols=["binary"], ssl=ANY_CERTIFICATE):
            raise AssertionError("a ticket is good for once")
    except websockets.exceptions.InvalidStatusCode as error:
        assert error.status_code == 404, error


def main():
    si = sessions()
    machines = listing(si)
    everything(si, machines)
    if not content_is_host(si):
        alarms(si, machines)
    events(si, machines)
    performance(si, machines)
    searching(si, machines)
    power(machines)
    snapshots(machines)
    clones(si, machines)
    instant(si, machines)
    customizations(si, machines)
    calling_off(si, machines)
    exports(si, machines)
    watching(si, machines)
    consoles(si, machines)
    Disconnect(si)
    raises(vim.fault.NotAuthenticated, si.CurrentTime)
    print("done")


main()
