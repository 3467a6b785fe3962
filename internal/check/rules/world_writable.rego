# METADATA
# title: Everybody may write a file or folder
# description: >-
#   A file, directory or tmpfs has a mode that lets others write, without the sticky bit that /tmp has.
# custom:
#   id: world-writable
#   severity: medium
#   why: >-
#     In the image nothing can be written anyway, and what can be in a tmpfs or a volume is for the service's user:
#     others only need it where something else is wrong.
#   fix: >-
#     Write a mode without write permission for others ("0644", "0750"), and `owner` with who needs to write.
package imx.rules.world_writable

deny contains {"at": [kind, block.name, part, thing.path, "mode"], "message": message} if {
	some kind in ["image", "service"]
	some block in input[concat("", [kind, "s"])]
	some part, name in {"file": "files", "directory": "directories", "tmpfs": "tmpfs"}
	some thing in block[name]
	regex.match(`^[0246][0-7]{2}[2367]$`, thing.mode)
	message := sprintf("%s of %s.%s has mode %s: everybody may write it", [thing.path, kind, block.name, thing.mode])
}
