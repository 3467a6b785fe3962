# METADATA
# title: A shared file system that is not encrypted
# description: >-
#   An EFS file system is declared without encryption.
# custom:
#   id: cloud-file-system-unencrypted
#   severity: high
#   why: >-
#     What is stored there can be read by whoever gets at the disks below it.
#   fix: >-
#     Write encrypted = true (Encrypted in CloudFormation).
package imx.cloud.cloud_file_system_unencrypted

import data.imx.cloud.lib

deny contains {"at": [r.i, "encrypted"], "message": message} if {
	some r in lib.resource("aws_efs_file_system", "")
	lib.off(r.values, "encrypted")
	message := sprintf("the file system %s is not encrypted", [r.name])
}

deny contains {"at": [r.i, "Encrypted"], "message": message} if {
	some r in lib.resource("", "AWS::EFS::FileSystem")
	lib.off(r.values, "Encrypted")
	message := sprintf("the file system %s is not encrypted", [r.name])
}
