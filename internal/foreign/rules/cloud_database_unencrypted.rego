# METADATA
# title: A database whose storage is not encrypted
# description: >-
#   An RDS instance is declared without encryption of its storage.
# custom:
#   id: cloud-database-unencrypted
#   severity: high
#   why: >-
#     Snapshots and disks that leave the machine can be read by whoever gets them.
#   fix: >-
#     Write storage_encrypted = true (StorageEncrypted in CloudFormation).
package imx.cloud.cloud_database_unencrypted

import data.imx.cloud.lib

deny contains {"at": [r.i, "storage_encrypted"], "message": message} if {
	some r in lib.resource("aws_db_instance", "")
	lib.off(r.values, "storage_encrypted")
	message := sprintf("the storage of the database %s is not encrypted", [r.name])
}

deny contains {"at": [r.i, "StorageEncrypted"], "message": message} if {
	some r in lib.resource("", "AWS::RDS::DBInstance")
	lib.off(r.values, "StorageEncrypted")
	message := sprintf("the storage of the database %s is not encrypted", [r.name])
}
