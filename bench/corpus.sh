# shellcheck shell=bash
# The figures that are taken over the templates of a whole folder. Sourced by builder, after rivals.sh.
corpus=${CORPUS:-test/corpus}
rivals_kept=${XDG_CACHE_HOME:-$HOME/.cache}/imx-bench

# moved: ten images of the corpus that have OpenSSL's libraries, all in one template, before and after its patch. What a
# machine that has the old images must fetch is every blob that they don't have.
moved() {
  local count
  openssl_patch || return 0
  start_server "$scratch/data"
  ten_templates
  count=$(wc -l <"$scratch/images.main")
  image_blobs "$scratch/ten.main" >"$scratch/blobs.main"
  image_blobs "$scratch/ten.both" >"$scratch/blobs.both"
  stop_server
  awk -v count="$count" 'NR == FNR {old[$1]; next} {all += $2; if (!seen[$1]++) {distinct += $2; if (!($1 in old)) fresh += $2}} END {
    printf "| bytes moved when OpenSSL is patched in %d images | %.1f MB | the images: %.1f MB, %.1f MB without what they share | %.1f %% | under 5 %% |\n",
      count, fresh / 1e6, all / 1e6, distinct / 1e6, 100 * fresh / all }' "$scratch/blobs.main" "$scratch/blobs.both" >>"$scratch/table"
}

# roots: the same ten images. What their root file systems take of the disk, what the patch adds, and the CPU that it
# costs to build them again, their packages being installed anew.
roots() {
  local before after apart
  openssl_patch || return 0
  rm -rf "$scratch/data"
  start_server "$scratch/data"
  ten_templates
  image_blobs "$scratch/ten.main" >"$scratch/blobs.main"
  before=$(disk_of_roots)
  apart=$(jq -r '.images[].digest' "$scratch/result" | while read -r digest; do parts_of "$digest"; done | awk '{s += $1} END {print s}')
  metered roots.patch quietly client build "$scratch/ten.both"
  after=$(disk_of_roots)
  stop_server
  awk -v n="$(wc -l <"$scratch/images.main")" -v b="$before" -v a="$after" -v apart="$apart" -v cpu="$(median roots.patch)" 'BEGIN {
    printf "| disk that the roots of %d images take | %.1f MB | with nothing shared: %.1f MB | %.1fx less | - |\n", n, b / 1e6, apart / 1e6, apart / b
    printf "| disk that they take more when OpenSSL is patched | %.1f MB | | %.1f %% | - |\n", (a - b) / 1e6, 100 * (a - b) / b
    printf "| CPU to build them patched | %.2f s | | | - |\n", cpu }' >>"$scratch/table"
}
disk_of_roots() { sync -f "$scratch/data" && du -s --block-size=1 "$scratch/data/build/roots" | cut -f 1; }
# parts_of DIGEST: the bytes of each layer of an image as it lies beside its root.
parts_of() {
  local layer
  for layer in $(jq -r '.rootfs.diff_ids[]' "$(blob "$(jq -r .config.digest "$(blob "$1")")")"); do
    stat -c '%b %B' "$scratch/data/build/roots/${layer#sha256:}.part" | awk '{print $1 * $2}'
  done
}

# openssl_patch writes what there is of OpenSSL in the main suite, and what with the security suite. It fails where that is the same.
openssl_patch() {
  apt_root "$codename" && apt_simulate libssl3 openssl
  pinned libssl3 >"$scratch/ssl.main"
  apt_root "$codename $codename-security" && apt_simulate libssl3 openssl
  pinned libssl3 >"$scratch/ssl.both"
  if cmp -s "$scratch/ssl.main" "$scratch/ssl.both"; then
    say "OpenSSL is the same in $codename and $codename-security today: no patch to measure"
    return 1
  fi
}
# ten_templates writes the ten images, before and after the patch. A server runs.
ten_templates() {
  local both="$codename $codename-security"
  ten_images "$both" "$scratch/ssl.main" >"$scratch/images.main"
  images_template "$scratch/ten.main" "$both" "$scratch/images.main" "$scratch/ssl.main"
  images_template "$scratch/ten.both" "$both" "$scratch/images.main" "$scratch/ssl.both"
}
# pinned NAME: what apt-get just chose with NAME's version, as "name version".
pinned() {
  awk -v name="$1" '$1 == "Inst" {v[$2] = substr($3, 2)} END {for (p in v) if (v[p] == v[name]) print p, v[p]}' "$scratch/output" | sort
}
# ten_images "SUITES" PINS: the corpus's images that have a package of PINS, at most ten: "name package...".
ten_images() {
  local folder
  for folder in "$corpus"/*/; do
    rm -rf "$scratch/folder"
    cp -r "$folder" "$scratch/folder"
    rm -f "$scratch/folder/imx.lock"
    "$imx" plan --json "$scratch/folder" 2>"$scratch/output" | jq -r --rawfile pins "$2" --arg release "$codename" '
      ($pins | split("\n") | map(split(" ")[0])) as $names | select(all(.lock.suites[]; .suite | startswith($release))) |
      .plan.images[] | select(any(.ship[]?; .name | IN($names[]))) | "\(.spec.name) \(.spec.packages | join(" "))"' || true
  done | head -n 10
}
# images_template DIR "SUITES" IMAGES PINS: writes a template of these images, each with PINS.
images_template() {
  rm -rf "$1"
  mkdir -p "$1"
  printf 'archive "debian" {\n  suites = %s\n}\n' "$(strings "$2")" >"$1/bench.imx.hcl"
  local name packages
  while read -r name packages; do
    cat <<EOF
image "$name" {
  from     = archive.debian
  packages = $(strings "$packages $(tr ' ' = <"$4" | xargs)")
  command  = ["/bin/true"]
}
EOF
  done <"$3" >>"$1/bench.imx.hcl"
}
# image_blobs DIR: builds a template; every blob of every image, with its size.
image_blobs() {
  local digest
  "$imx" build --json "$1" >"$scratch/result" 2>"$scratch/output" || { tail -n 40 "$scratch/output" >&2; return 1; }
  for digest in $(jq -r '.images[].digest' "$scratch/result"); do
    echo "$digest $(stat -c %s "$(blob "$digest")")"
    jq -r '.config, .layers[] | "\(.digest) \(.size)"' "$(blob "$digest")"
  done
}

# sizes: every image of the corpus, and the same packages made by the rivals.
sizes() {
  local folder rival
  start_server "$scratch/data"
  echo "| image | imx | files | mmdebstrap | files | buildah | files |" >"$scratch/images"
  echo "|---|---|---|---|---|---|---|" >>"$scratch/images"
  for folder in "$corpus"/*/; do
    size_folder "$folder"
  done
  stop_server
  for rival in mmdebstrap buildah; do
    [ -e "$scratch/figures/size.$rival" ] || continue
    beside_row "compressed size of $(wc -l <"$scratch/figures/size.$rival") images" "$rival" size size MB 1e6 "4x smaller"
    beside_row "the same, imx's layers by gzip -6 like $rival's" "$rival" gzip size MB 1e6 "-"
    beside_row "files in them" "$rival" files files "" 1 "10x fewer"
  done
}
# size_folder DIR: a template that names no package is left out: no rival could make it.
size_folder() {
  local name image packages
  name=$(basename "$1")
  fstrim "$scratch" # gives back what was removed, which the disk's file would keep
  grep -q '^ *packages *=' "$1"/*.imx.hcl || { say "$name: names no package, left out"; return; }
  rm -rf "$scratch/folder"
  cp -r "$1" "$scratch/folder"
  rm -f "$scratch/folder/imx.lock"
  compiled "$scratch/folder"
  if ! "$imx" build --json "$scratch/folder" >"$scratch/result" 2>"$scratch/output"; then
    say "$name isn't built: $(tail -n 1 "$scratch/output")"
    return
  fi
  while read -r image packages; do
    size_image "$image" "$(jq -r '[.plan.lock.suites[].suite] | sort | join(" ")' "$scratch/result")" "$packages"
  done < <(jq -r '.plan.plan.images[].spec | select(.packages) | "\(.name) \(.packages | join(" "))"' "$scratch/result")
}
# compiled DIR: what a template's user compiles beforehand is an empty file here.
compiled() {
  local file
  while read -r file; do
    [ -e "$1/$file" ] || : >"$1/$file"
  done < <(grep -ho '\bfile("[^"]*")' "$1"/*.imx.hcl | cut -d '"' -f 2)
}
# size_image NAME "SUITES" "PACKAGES": a line about one image, which counts beside each rival that can make it.
size_image() {
  local ours mm bu
  say "sizes of $1: $3"
  mapfile -t ours < <(imx_size "$1")
  mapfile -t mm < <(kept mmdebstrap "$2" "$3")
  beside mmdebstrap "${ours[@]}" "${mm[@]}"
  mapfile -t bu < <(kept buildah "$2" "$3")
  beside buildah "${ours[@]}" "${bu[@]}"
  awk -v n="$1" -v o="${ours[*]}" -v m="${mm[*]}" -v b="${bu[*]}" '
    function cells(text, v) { return split(text, v, " ") < 2 ? " - | - |" : sprintf(" %.1f MB | %d |", v[1] / 1e6, v[2]) }
    BEGIN { print "| " n " |" cells(o) cells(m) cells(b) }' >>"$scratch/images"
}
# beside RIVAL BYTES FILES GZIPPED [BYTES FILES]: records an image of imx and the rival's, if the rival made it.
beside() {
  [ $# -eq 6 ] || { say "$1 can't make this one: $(tail -n 1 "$scratch/output")"; return; }
  record "size.imx.$1" "$2"
  record "files.imx.$1" "$3"
  record "gzip.imx.$1" "$4"
  record "size.$1" "$5"
  record "files.$1" "$6"
}
# kept RIVAL "SUITES" "PACKAGES": the bytes and files of the rival's image. They are kept for the next run, as what they
# depend on is known: the archive's signed indices, the rival and how it is run. That it fails isn't kept.
kept() {
  local file
  mkdir -p "$rivals_kept"
  archive_state "$2" >"$scratch/state"
  file=$rivals_kept/$1-$({ cat "$scratch/state" bench/rivals.sh; "$1" --version; echo "$3"; } | sha256sum | cut -d ' ' -f 1)
  if [ ! -e "$file" ]; then
    "$1_made" "$2" "$3" >"$scratch/made" || return 0
    cp "$scratch/made" "$file.new" && mv "$file.new" "$file"
  fi
  cat "$file"
}
# archive_state "SUITES": the digests of the suites' signed indices.
archive_state() {
  local file=$scratch/state-${1// /+}
  [ -e "$file" ] || { apt_root "$1" && sha256sum "$scratch"/apt/var/lib/apt/lists/*Release | cut -d ' ' -f 1 | sort >"$file"; } || return
  cat "$file"
}
mmdebstrap_made() {
  mmdebstrap_tar "$scratch/root.tar" "$1" "$2" || return
  gzip -6 <"$scratch/root.tar" | wc -c
  tar -tvf "$scratch/root.tar" | grep -vc ^d
}
buildah_made() {
  local base=slim-${1%%[- ]*}
  [ -d "$scratch/buildah/$base" ] || buildah_base "$base" "$1" || { absent buildah; return 1; }
  buildah_image image "$base" "$1" "$2" && buildah_size image || return
  quietly "${buildah[@]}" rmi image
}
# imx_size IMAGE: bytes of the layers as they are served, their files, and the bytes if they were compressed like the rivals'.
imx_size() {
  local manifest layer
  manifest=$(blob "$(jq -r --arg n "$1" '.images[] | select(.name == $n).digest' "$scratch/result")")
  jq '[.layers[].size] | add' "$manifest"
  for layer in $(jq -r '.layers[].digest' "$manifest"); do
    zstd -dcqf "$(blob "$layer")" >"$scratch/layer.tar" # gzip's format too
    tar -tvf "$scratch/layer.tar" | grep -vc ^d >>"$scratch/layer.files" || true
    gzip -6 <"$scratch/layer.tar" | wc -c >>"$scratch/layer.gzip"
  done
  awk '{s += $1} END {print s}' "$scratch/layer.files"
  awk '{s += $1} END {print s}' "$scratch/layer.gzip"
  rm "$scratch/layer.files" "$scratch/layer.gzip" "$scratch/layer.tar"
}
blob() { local hex=${1#sha256:}; echo "$scratch/data/blobs/sha256/${hex:0:2}/$hex"; }
# beside_row WHAT RIVAL FIGURE FIGURE UNIT DIVISOR AIM: imx's figure beside the rival's over the images that both could make:
# their sums, and the median of the images' ratios.
beside_row() {
  local middle
  middle=$(paste "$scratch/figures/$3.imx.$2" "$scratch/figures/$4.$2" | awk '{print $2 / $1}' | sort -g |
    awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2}')
  awk -v what="$1" -v rival="$2" -v ours="$(total "$3.imx.$2")" -v theirs="$(total "$4.$2")" -v unit="${5:+ $5}" -v d="$6" \
    -v middle="$middle" -v aim="$7" 'BEGIN {
    printf "| %s | %.0f%s | %s: %.0f%s | %.1fx; median of the images: %.1fx | %s |\n",
      what, ours / d, unit, rival, theirs / d, unit, theirs / ours, middle, aim }' >>"$scratch/table"
}
