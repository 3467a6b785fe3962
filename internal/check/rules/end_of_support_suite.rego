# METADATA
# title: A suite whose support has ended
# description: >-
#   An archive has a suite of a release that gets no security updates any more, those of Debian LTS included.
# related_resources:
# - ref: https://wiki.debian.org/LTS
# - ref: https://salsa.debian.org/debian/distro-info-data
# custom:
#   id: end-of-support-suite
#   severity: high
#   why: >-
#     Defects that become known from now on stay open in everything that is built from it, and there is no update
#     to wait for.
#   fix: >-
#     Move to a supported release: `suites = ["trixie", "trixie-updates", "trixie-security"]`.
package imx.rules.end_of_support_suite

# The day after which there are no updates for everybody: Debian's column eol-lts and Ubuntu's eol-server in
# distro-info-data 0.58+deb12u7.
last_day := {
	"wheezy": "2018-05-31", "jessie": "2020-06-30", "stretch": "2022-06-30", "buster": "2024-06-30",
	"bullseye": "2026-08-31", "bookworm": "2028-06-30", "trixie": "2030-06-30",
	"trusty": "2019-04-25", "xenial": "2021-04-30", "bionic": "2023-05-31", "focal": "2025-05-29",
	"jammy": "2027-06-01", "noble": "2029-05-31",
}

deny contains {"at": ["archive", archive.name, "suites", i], "message": message} if {
	some archive in input.archives
	some i, suite in archive.suites
	release := split(split(suite, "/")[0], "-")[0]
	input.today > last_day[release]
	message := sprintf("archive.%s has %s, whose support ended on %s", [archive.name, suite, last_day[release]])
}
