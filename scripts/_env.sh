# shellcheck shell=bash
# What the scripts share: making virtual environments, and not making them again. To be sourced.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

step() { printf '\n==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Python 3.11 or newer: $PYTHON, or the first that fits.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: set PYTHON to one"
}

# make_venv FOLDER: an environment with pip. Debian's python3 has no ensurepip until python3-venv is installed.
make_venv() {
    local python
    python=$(find_python)
    [ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    rm -rf "$1"
    step "Making $1 with $("$python" --version)"
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$1"
    elif "$python" -m virtualenv --version >/dev/null 2>&1; then
        "$python" -m virtualenv --quiet "$1"
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        step "Installing python3-venv, which Debian leaves out of python3"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        "$python" -m venv "$1"
    else
        fail "this Python can't make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv"
    fi
}

# once FOLDER NAME COMMAND...: run COMMAND, unless it was run in this environment for this pyproject.toml.
once() {
    local folder=$1 stamp=$1/.blobdir-$2 key
    shift 2
    key=$(printf '%s\n' "$*" | cat - pyproject.toml | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && return
    rm -f "$stamp"
    "$@"
    printf '%s\n' "$key" >"$stamp"
}

pip_install() {
    local folder=$1
    shift
    step "Installing into $folder: $*"
    "$folder/bin/python" -m pip install --disable-pip-version-check --quiet "$@"
}

# Debian package -> a command (or shared library, or file) that it brings: what the tests need besides Python.
declare -A SYSTEM_PACKAGES=(
    [tar]=tar                       # archives that GNU tar makes
    [libarchive-tools]=bsdtar       # ditto, and how it reads them
    [nginx-light]=nginx             # a real web server
    [apache2-bin]=apache2           # ditto
    [lighttpd]=lighttpd             # ditto
    [caddy]=caddy                   # ditto
    [erofs-utils]=fsck.erofs        # judges images for the kernel; FSCK_EROFS names another than that of PATH
    [openssh-server]=sshd           # files over SFTP
    [openssl]=openssl               # its certificate
    [groff-base]=groff              # the manual pages
    [fuse3]=fusermount3              # mounts by ordinary users
    [libfuse2]=libfuse.so.2         # the fusepy engine
    [procps]=pgrep                  # who is still there
    [rsync]=rsync                   # one of the tools that are tried on a mount
    [strace]=strace                 # kills writers at every system call
    [systemd]=systemd-analyze       # the units
    [systemd-container]=systemd-nspawn # a systemd that runs them
    [fonts-dejavu-core]=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf # names in pictures
    [fonts-unifont]=/usr/share/fonts/opentype/unifont/unifont.otf # ditto, in all other scripts
    [libfribidi0]=libfribidi.so.0   # ditto, from right to left
    [libgl1]=libGL.so.1             # OpenCV, which the SDK needs
    [fio]=fio                       # reads on mounts, with checksums of its own
    [libglib2.0-0]=libglib-2.0.so.0 # ditto
    [libmagic1]=libmagic.so.1       # python-magic, which the SDK needs
)

# Install what is missing of them: as root on Debian and Ubuntu; elsewhere say what is missing, and stop.
install_system_packages() {
    local package brings libraries missing=()
    libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
    for package in "${!SYSTEM_PACKAGES[@]}"; do
        brings=${SYSTEM_PACKAGES[$package]}
        case $brings in
            /*) [ -e "$brings" ] || missing+=("$package") ;;
            *.so.*) grep -qF "$brings" <<<"$libraries" || missing+=("$package") ;;
            *) PATH=$PATH:/usr/sbin command -v "$brings" >/dev/null || missing+=("$package") ;;
        esac
    done
    ((${#missing[@]})) || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        step "Installing ${missing[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        fail "the tests need programs that aren't here. On Debian and Ubuntu: sudo apt-get install ${missing[*]}"
    fi
}
