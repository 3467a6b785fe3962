# METADATA
# title: A package whose support has ended
# description: >-
#   An image names a package that its authors no longer mend in any version of that name (a language's or a database's
#   old release), or that Debian has taken out of security support in the suite that the image takes it from.
# related_resources:
# - ref: https://salsa.debian.org/debian/debian-security-support
# - ref: https://www.php.net/supported-versions.php
# - ref: https://www.postgresql.org/support/versioning/
# custom:
#   id: end-of-support-package
#   severity: medium
#   why: >-
#     Defects that become known from now on are mended by nobody, or by a distribution that has to do it without the
#     program's authors.
#   fix: >-
#     Move to a supported version, or from another suite as "name/suite". Where somebody still supports it for you
#     (Debian LTS, a vendor), say in a waiver who and until when.
package imx.rules.end_of_support_package

# By the beginnings of names: the last day on which the authors mended it.
by_authors := [
	{"name": `^(lib)?python2(\.|$|-)`, "until": "2020-01-01"}, # https://www.python.org/doc/sunset-python-2/
	{"name": `^(lib)?python3\.7(-|$)`, "until": "2023-06-27"}, # https://devguide.python.org/versions/
	{"name": `^(lib)?python3\.8(-|$)`, "until": "2024-10-07"},
	{"name": `^(lib)?python3\.9(-|$)`, "until": "2025-10-31"},
	{"name": `^php5`, "until": "2018-12-31"}, # https://www.php.net/eol.php
	{"name": `^php7\.`, "until": "2022-11-28"},
	{"name": `^php8\.0`, "until": "2023-11-26"},
	{"name": `^php8\.1`, "until": "2025-12-31"},
	{"name": `^php8\.2`, "until": "2026-12-31"},
	{"name": `^postgresql(-client)?-9\.`, "until": "2021-11-11"}, # https://www.postgresql.org/support/versioning/
	{"name": `^postgresql(-client)?-10$`, "until": "2022-11-10"},
	{"name": `^postgresql(-client)?-11$`, "until": "2023-11-09"},
	{"name": `^postgresql(-client)?-12$`, "until": "2024-11-21"},
	{"name": `^postgresql(-client)?-13$`, "until": "2025-11-13"},
	{"name": `^postgresql(-client)?-14$`, "until": "2026-11-12"},
	{"name": `^mysql-server-5\.`, "until": "2023-10-31"}, # https://endoflife.date/mysql
	{"name": `^tomcat[678]$`, "until": "2024-03-31"}, # https://tomcat.apache.org/whichversion.html
]

# What Debian took out of security support, by release: debian-security-support 1:12+2026.06.30.
by_debian := {"bookworm": [
	{"name": `^php-horde`, "until": "2025-03-22"},
	{"name": `^(dnsdist|pdns-server|pdns-backend-.*|pdns-recursor)$`, "until": "2025-10-01"},
	{"name": `^suricata$`, "until": "2026-04-30"},
	{"name": `^(lxd|lxd-client|lxd-agent)$`, "until": "2026-06-12"},
	{"name": `^lib(mbedtls|mbedcrypto|mbedx509-|wolfssl)`, "until": "2026-06-12"},
	{"name": `^(mimetex|opennds|smb4k|ruby-saml)$`, "until": "2026-06-12"},
]}

deny contains {"at": ["image", image.name, "packages", i], "message": message} if {
	some image in input.images
	some i, asked in image.packages
	some known in by_authors
	regex.match(known.name, name_of(asked))
	input.today > known.until
	message := sprintf("image.%s asks for %s, whose authors support it no longer since %s", [image.name, name_of(asked), known.until])
}

deny contains {"at": ["image", image.name, "packages", i], "message": message} if {
	some image in input.images
	some i, asked in image.packages
	some release in releases(image, asked)
	some known in by_debian[release]
	regex.match(known.name, name_of(asked))
	input.today > known.until
	message := sprintf("image.%s asks for %s, which Debian supports no longer in %s since %s", [image.name, name_of(asked), release, known.until])
}

name_of(asked) := split(split(asked, "=")[0], "/")[0]

# releases are those that a package may come from: the one behind its slash, or all of the image's archives.
releases(_, asked) := {release_of(split(asked, "/")[1])} if contains(asked, "/")

releases(image, asked) := {release_of(suite) |
	some archive in input.archives
	some from in as_list(image.from)
	archive.name == from
	some suite in archive.suites
} if not contains(asked, "/")

release_of(suite) := split(split(suite, "/")[0], "-")[0]

as_list(names) := names if is_array(names)

as_list(name) := [name] if is_string(name)
