"""Terraform from a shared library, as a program: same arguments, exit codes and signals, nothing in between.

It must never start a second process, read a byte of the output, or leave a signal to Python: one SIGINT to
this process id is one interrupt to Terraform.
"""

import ctypes
import os
import signal
import sys

# Until Terraform installs its own handler, an interrupt ends the process, as it ends the real program.
# An interrupt that the parent ignores stays ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
# Python ignores SIGPIPE, and children would inherit that; a handler is reset in them, and harms nobody here.
signal.signal(signal.SIGPIPE, lambda _signal, _frame: None)

library, *arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
terraform = ctypes.CDLL(os.fsdecode(library))
terraform.RunCli.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
terraform.RunCli.restype = ctypes.c_int
argv = (ctypes.c_char_p * len(arguments))(*arguments)
# The library closes what it is given: it gets copies.
status = terraform.RunCli(len(arguments), argv, os.dup(1), os.dup(2))
# No way back through Python: Go's threads are still there.
os._exit(status & 0xFF)
