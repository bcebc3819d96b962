"""Make an environment beside this file, then run the demo or the checks in it.

Usage::

    python quickstart.py demo     install factorlab, run the demo, print where its report is
    python quickstart.py test     install factorlab for development, run all checks
    python quickstart.py check    run all checks with the Python that runs this file

Only the standard library is used, and only syntax that old versions of Python can read too,
so that each of them can say which versions are supported.
"""

import hashlib
import os
import shutil
import subprocess
import sys

SUPPORTED = ((3, 11), (3, 12), (3, 13))
ROOT = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = os.path.join(ROOT, ".venv")
STAMP = os.path.join(ENVIRONMENT, "factorlab-installed.txt")
INPUTS = ("setup.cfg", "constraints.txt")

# The tests come last, so that their summary is the last thing shown.
IMPORTS = "from importlinter.cli import lint_imports_command as run; run()"
CHECKS = (
    ("format", ("-m", "ruff", "format", "--check", ".")),
    ("lint", ("-m", "ruff", "check", ".")),
    ("types", ("-m", "mypy")),
    ("import directions", ("-c", IMPORTS, "--no-logo")),
    ("tests", ("-m", "pytest")),
)


def main(arguments):
    """Run one of the commands; return the exit code."""
    if sys.version_info[:2] not in SUPPORTED:
        return fail(
            "Python must be 3.11, 3.12 or 3.13; got %d.%d; run this file with one of them, for"
            " example: python3.12 quickstart.py demo" % sys.version_info[:2]
        )
    commands = {"demo": demo, "test": test, "check": check}
    if len(arguments) != 1 or arguments[0] not in commands:
        return fail(
            "the command must be one of demo, test, check; got %s; example: python quickstart.py"
            " demo" % (" ".join(arguments) or "nothing")
        )
    os.chdir(ROOT)
    return commands[arguments[0]]()


def demo():
    """Install the package and run the demo."""
    return install("") or call("demo", environment_python(), "-m", "factorlab", "demo")


def test():
    """Install the package with its development tools and run all checks."""
    return install("dev") or call(None, environment_python(), "quickstart.py", "check")


def check():
    """Run every check, the later ones too when an earlier one fails."""
    failed = [name for name, command in CHECKS if call(name, sys.executable, *command)]
    if failed:
        return fail("these checks failed: %s" % ", ".join(failed))
    say("all checks passed: %s" % ", ".join(name for name, _ in CHECKS))
    return 0


def install(extra):
    """Make the environment and install the package in it, unless that was done before.

    A stamp keeps what was installed: the extra and a hash of the files that decide it.
    """
    wanted = fingerprint()
    stamp = read_stamp()
    if stamp and stamp[0] == wanted and extra in ("", stamp[1]) and environment_runs():
        return 0
    if not environment_runs():
        say("making the environment %s" % ENVIRONMENT)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        if subprocess.call([sys.executable, "-m", "venv", ENVIRONMENT]):
            return fail(
                "the environment could not be made in %s; on Debian and Ubuntu install the package"
                " python3-venv; otherwise look whether the folder can be written" % ENVIRONMENT
            )
    elif os.path.exists(STAMP):
        os.remove(STAMP)
    # A development environment stays one when the dependencies change.
    if stamp and stamp[1]:
        extra = stamp[1]
    say("installing factorlab and what it needs (the first time takes some minutes)")
    target = ".[%s]" % extra if extra else "."
    pip = ("-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--quiet")
    if subprocess.call(
        [environment_python()] + list(pip) + ["-c", "constraints.txt", "-e", target]
    ):
        return fail(
            "pip could not install factorlab, its own message is above; with it mended, run the"
            " same command again"
        )
    with open(STAMP, "w") as file:
        file.write("%s\n%s\n" % (wanted, extra))
    return 0


def environment_python():
    """Return the path of the environment's Python."""
    if os.name == "nt":
        return os.path.join(ENVIRONMENT, "Scripts", "python.exe")
    return os.path.join(ENVIRONMENT, "bin", "python")


def environment_runs():
    """Tell whether the environment's Python starts and has the version of this one."""
    if not os.path.exists(environment_python()):
        return False
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.check_output([environment_python(), "-c", question])
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.decode().strip() == "%d.%d" % sys.version_info[:2]


def fingerprint():
    """Return one hash of the files that decide what is installed."""
    digest = hashlib.sha256()
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            # Line ends differ between checkouts of the same text.
            digest.update(file.read().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def read_stamp():
    """Return the hash and the extra of the last complete installation, or None."""
    if not os.path.exists(STAMP):
        return None
    with open(STAMP) as file:
        lines = file.read().split("\n")
    return lines[0], lines[1] if len(lines) > 1 else ""


def call(title, *command):
    """Run a command and return its exit code; show the title first, if there is one."""
    if title:
        say(title)
    return subprocess.call(command)


def say(text):
    """Show a line before whatever the next command prints."""
    sys.stdout.write("quickstart: %s\n" % text)
    sys.stdout.flush()


def fail(text):
    """Show one line on standard error and return the exit code for it."""
    sys.stdout.flush()
    sys.stderr.write("quickstart: %s\n" % text)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(fail("stopped; the same command goes on from here"))
