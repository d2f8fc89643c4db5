"""Lists all machines of the server in GOVC_URL as a program with pyVmomi does, for scripts/bench."""

import os
import sys
from urllib.parse import urlsplit

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

PATHS = ["name", "runtime.powerState", "config.hardware.numCPU", "config.hardware.memoryMB",
         "config.guestFullName", "summary.storage.committed"]
PC = vmodl.query.PropertyCollector

url = urlsplit(os.environ["GOVC_URL"])
si = SmartConnect(host=url.hostname, port=url.port, user=os.environ["GOVC_USERNAME"],
                  pwd=os.environ["GOVC_PASSWORD"], disableSslCertValidation=True)
content = si.RetrieveContent()
view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
through = PC.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
spec = PC.FilterSpec(
    objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[through])],
    propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=PATHS)])
collector = content.propertyCollector
page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
while page:
    for found in page.objects:
        values = {part.name: part.val for part in found.propSet}
        sys.stdout.write(",".join(str(values.get(path, "")) for path in PATHS) + "\n")
    page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
