"""Sits at a terminal that changes its size: PROGRAM ARGUMENT ...

Logs in, makes the terminal larger, and looks whether the machine knows.
"""
import fcntl, os, pty, select, struct, sys, termios

def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

ready, go = os.pipe()
pid, fd = pty.fork()
if pid == 0:
    os.read(ready, 1)
    os.execv(sys.argv[1], sys.argv[1:])
size(30, 100)
os.write(go, b".")
seen = b""

def wait(text):
    global seen
    while text not in seen:
        if not select.select([fd], [], [], 10)[0]:
            sys.exit(f"no {text} in {seen}")
        seen += os.read(fd, 4096)
    seen = seen[seen.index(text) + len(text):]

wait(b"Ctrl-]")
os.write(fd, b"\r")
for question, answer in [(b"login: ", b"root\r"), (b"Password: ", b"secret\r"), (b"# ", b"")]:
    wait(question)
    os.write(fd, answer)
size(50, 132)
wait(b"stty rows 50 cols 132")
wait(b"# ")
os.write(fd, b"stty size\r")
wait(b"\r\n50 132\r\n")
os.write(fd, b"\x1d")
try:
    while os.read(fd, 4096):
        pass
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
