"""Sits at a terminal: PROGRAM ARGUMENT ...

Waits until what was drawn is drawn over, and prints everything that was shown.
"""
import os, pty, select, signal, sys

pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
while seen.count(b"\x1b[2A\x1b[J") < 2:
    if not select.select([fd], [], [], 10)[0]:
        break
    try:
        seen += os.read(fd, 4096)
    except OSError:
        break
os.kill(pid, signal.SIGINT)
os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
