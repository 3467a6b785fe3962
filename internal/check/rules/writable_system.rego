# METADATA
# title: A writable folder covers a part of the system
# description: >-
#   A tmpfs or a volume stands at or below /etc, /usr, /bin, /sbin, /lib, /lib64, /opt or /boot. The root itself is
#   always read-only; no template can ask for a writable one.
# custom:
#   id: writable-system-folder
#   severity: high
#   why: >-
#     What the image brought there is hidden, and what stands there instead can change while an instance runs:
#     configuration that no release has, libraries that nobody signed. An image stays what was checked only as
#     long as its own folders can't be written.
#   fix: >-
#     Put data below /var/lib, /var/cache, /run, /srv or /tmp and have the program look there. Files that
#     are known beforehand are `file` blocks.
package imx.rules.writable_system

system := {"/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/boot"}

deny contains {"at": ["service", service.name, "tmpfs", tmpfs.path], "message": message} if {
	some service in input.services
	some tmpfs in service.tmpfs
	some folder in system
	within(tmpfs.path, folder)
	message := sprintf("service.%s can write in %s, a part of the system", [service.name, tmpfs.path])
}

deny contains {"at": ["service", service.name, "volume", volume.name, "path"], "message": message} if {
	some service in input.services
	some volume in service.volumes
	some folder in system
	within(volume.path, folder)
	message := sprintf("service.%s can write in %s, a part of the system", [service.name, volume.path])
}

within(path, folder) if path == folder

within(path, folder) if startswith(path, concat("", [folder, "/"]))
