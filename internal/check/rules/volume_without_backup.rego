# METADATA
# title: A volume that nothing is known to back up
# description: >-
#   A service has a volume. imx itself doesn't back volumes up, so whether somebody does must be said.
# custom:
#   id: volume-without-backup
#   severity: low
#   why: >-
#     A volume outlives instances and releases, but not its disk. It is the only thing of a service that imx can't
#     make again.
#   fix: >-
#     Say in a waiver what backs it up, and choose as `until` the day by which bringing it back is to be tried
#     again: waiver "volume-without-backup" { for = service.db, reason = "nightly dump to s3, restored on 1 March", until = "..." }.
#     A volume that may be lost says so in the same place.
package imx.rules.volume_without_backup

deny contains {"at": ["service", service.name, "volume", volume.name], "message": message} if {
	some service in input.services
	some volume in service.volumes
	message := sprintf("nothing says what backs up the volume %s of service.%s", [volume.name, service.name])
}
