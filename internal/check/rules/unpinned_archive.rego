# METADATA
# title: An archive isn't pinned to a suite
# description: >-
#   An image takes packages from the machine's own apt sources, or an archive has no `suites`, or names one that
#   becomes another release with time (stable, testing, unstable).
# custom:
#   id: unpinned-archive
#   severity: low
#   why: >-
#     What was chosen is pinned in imx.lock. But the next update chooses from whatever the machine's apt sources name
#     then, or from the next release of Debian, and a colleague's machine chooses from other sources than yours.
#   fix: >-
#     Declare an archive with `suites = ["bookworm", "bookworm-updates", "bookworm-security"]`, and name it in
#     `from` of the image.
package imx.rules.unpinned_archive

moving := {"stable", "oldstable", "oldoldstable", "testing", "unstable", "sid", "experimental", "rc-buggy", "devel", "rolling", "latest"}

deny contains {"at": ["image", image.name, "from"], "message": message} if {
	some image in input.images
	count(object.get(image, "packages", [])) > 0
	takes_from_host(image)
	message := sprintf("image.%s takes packages from whatever apt sources the machine has", [image.name])
}

deny contains {"at": ["archive", archive.name, "suites"], "message": message} if {
	some archive in input.archives
	count(object.get(archive, "suites", [])) == 0
	message := sprintf("archive.%s has those suites that the machine's apt sources have", [archive.name])
}

deny contains {"at": ["archive", archive.name, "suites", i], "message": message} if {
	some archive in input.archives
	some i, suite in archive.suites
	split(split(suite, "/")[0], "-")[0] in moving
	message := sprintf("archive.%s has the suite %s, which becomes another release with time", [archive.name, suite])
}

takes_from_host(image) if not image.from

takes_from_host(image) if image.from == "host"

takes_from_host(image) if "host" in image.from
