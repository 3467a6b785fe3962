# shellcheck shell=bash
# The rivals of the builder, each the way its users run it. Sourced after lib.sh.
#
# All use the host's own Debian sources, like imx, and write below $scratch. What can't run here is said once in
# $scratch/absent and has no figures.

codename=$(. /etc/os-release; echo "$VERSION_CODENAME")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
epoch=$(date +%s)
buildah=(buildah --root "$scratch/buildah/root" --runroot "$scratch/buildah/run" --storage-driver overlay)

# absent RIVAL: notes once that it can't run here, with the last thing it said.
absent() {
  local why
  why=$(tail -n 1 "$scratch/output" 2>/dev/null)
  say "$1 can't run here: $why"
  grep -qs "^$1:" "$scratch/absent" || echo "$1: $why" >>"$scratch/absent"
}

# sources SUITE...: lines for apt with these suites, from the host's mirrors. Another release's suite is where the host's own
# of that kind is.
sources() {
  local suite
  for suite; do
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format "deb [signed-by=$keyring] "'$(REPO_URI) '"$suite"' $(COMPONENT)' \
      'Created-By: Packages' "Release: $codename${suite#"${suite%%-*}"}" 'Component: main' | sort -u
  done
}

# mmdebstrap_tar TAR "SUITES" "PACKAGES" [OPTION...]: a root file system of these packages and the Essential ones.
mmdebstrap_tar() {
  local tar=$1 suites=$2 packages=$3 lines
  shift 3
  # shellcheck disable=SC2086 # a list
  mapfile -t lines < <(sources $suites)
  rm -f "$tar"
  SOURCE_DATE_EPOCH=$epoch TMPDIR=$scratch quietly "${inside[@]}" mmdebstrap --variant=essential \
    ${packages:+"--include=${packages// /,}"} "$@" "${suites%%[- ]*}" "$tar" "${lines[@]}"
}

# buildah_base TAG "SUITES": a slim base image, which leaves out what slim ones do. The empty folders are for the scripts of
# Java and PostgreSQL, which fail without; users of slim images make them too.
buildah_base() {
  local dir=$scratch/buildah/$1
  mkdir -p "$dir"
  mmdebstrap_tar "$dir/base.tar" "$2" "" --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' &&
    printf 'FROM scratch\nADD base.tar /\nRUN mkdir -p /usr/share/man/man1 /usr/share/man/man7\n' >"$dir/Containerfile" &&
    quietly "${inside[@]}" "${buildah[@]}" build --isolation chroot --layers -t "$1" "$dir" &&
    rm "$dir/base.tar"
}

# buildah_image TAG BASE "SUITES" "PACKAGES": apt-get in a Containerfile, with buildah's cache of layers.
buildah_image() {
  local dir=$scratch/buildah/context
  mkdir -p "$dir"
  # shellcheck disable=SC2086 # a list
  sources $3 >"$dir/sources.list"
  cat >"$dir/Containerfile" <<EOF
FROM localhost/$2
COPY sources.list /etc/apt/sources.list
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $4 && rm -rf /var/lib/apt/lists/*
EOF
  touch -d "@$epoch" "$dir/sources.list"
  quietly "${inside[@]}" "${buildah[@]}" build --isolation chroot --layers -t "$1" "$dir"
}

# buildah_size TAG: bytes of the image's layers as a registry gets them, and the number of files in them.
buildah_size() {
  local container dir=$scratch/oci
  rm -rf "$dir"
  quietly "${buildah[@]}" push "$1" "oci:$dir:$1" || return
  jq '[.layers[].size] | add' "$dir/blobs/sha256/$(jq -r '.manifests[0].digest | ltrimstr("sha256:")' "$dir/index.json")"
  container=$("${buildah[@]}" from "$1")
  find "$("${buildah[@]}" mount "$container")" ! -type d | wc -l
  quietly "${buildah[@]}" rm "$container"
}

# apt_root "SUITES": an empty system for apt-get, with the index of these suites, beside the host's.
apt_root() {
  local dir=$scratch/apt
  mkdir -p "$dir"/{etc/apt/{preferences.d,apt.conf.d},var/lib/apt/lists/partial,var/lib/dpkg,var/cache/apt/archives/partial,var/log/apt}
  : >"$dir/var/lib/dpkg/status"
  # shellcheck disable=SC2086 # a list
  sources $1 >"$dir/etc/apt/sources.list"
  printf 'Dir "%s";\nDir::State::status "%s/var/lib/dpkg/status";\nAPT::Install-Recommends "false";\n' "$dir" "$dir" >"$dir/apt.conf"
  APT_CONFIG=$dir/apt.conf quietly apt-get update
}

# apt_simulate PACKAGE...: what apt-get would install.
apt_simulate() { APT_CONFIG=$scratch/apt/apt.conf quietly "${inside[@]}" apt-get --simulate install "$@"; }

# apt_uris PACKAGE...: what apt-get would fetch. It resolves as --simulate does and ends there.
apt_uris() { APT_CONFIG=$scratch/apt/apt.conf quietly "${inside[@]}" apt-get --print-uris --yes install "$@"; }

# apt_names: every real package of the index, sorted.
apt_names() { APT_CONFIG=$scratch/apt/apt.conf apt-cache dumpavail | awk '$1 == "Package:" {print $2}' | sort -u; }
