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
#     Nothing in a template can mend it: imx makes no backups yet. Write a waiver block beside the service, with three lines:
#     `for = [service.db]`, `reason` with what backs the volume up, or that it may be lost, and `until` with the day
#     by which bringing it back is to be tried again. The finding then counts as waived until that day begins.
package imx.rules.volume_without_backup

deny contains {"at": ["service", service.name, "volume", volume.name], "message": message} if {
	some service in input.services
	some volume in service.volumes
	message := sprintf("nothing says what backs up the volume %s of service.%s", [volume.name, service.name])
}
