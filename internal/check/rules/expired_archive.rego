# METADATA
# title: An archive may be out of date
# description: "`expired = true` in an archive."
# custom:
#   id: expired-archive
#   severity: medium
#   why: >-
#     An archive's indexes are signed until a day, so that nobody can hold back security updates by showing
#     old ones. With `expired`, whoever stands between you and the mirror can: an index of any age is taken,
#     so long as it isn't older than one that was seen.
#   fix: >-
#     Leave it out. It is for snapshots, which stay as they were on purpose: where that is meant, write a waiver
#     that says until when this snapshot is right.
package imx.rules.expired_archive

deny contains {"at": ["archive", archive.name, "expired"], "message": message} if {
	some archive in input.archives
	archive.expired
	message := sprintf("archive.%s is taken however old its indexes are", [archive.name])
}
