# METADATA
# title: A bucket that everybody may read
# description: >-
#   An S3 bucket has the canned access list public-read, public-read-write or authenticated-read, in Terraform or CloudFormation.
# custom:
#   id: cloud-public-bucket
#   severity: critical
#   why: >-
#     Whoever knows its name can list it and read what is in it. Most leaks from clouds were such buckets.
#   fix: >-
#     Leave the access list private, and give single readers access by a policy or by signed addresses.
package imx.cloud.cloud_public_bucket

import data.imx.cloud.lib

deny contains {"at": [r.i, "acl"], "message": message} if {
	some kind in ["aws_s3_bucket", "aws_s3_bucket_acl"]
	some r in lib.resource(kind, "")
	r.values.acl in {"public-read", "public-read-write", "authenticated-read"}
	message := sprintf("the bucket %s is open to everybody: %s", [r.name, r.values.acl])
}

deny contains {"at": [r.i, "AccessControl"], "message": message} if {
	some r in lib.resource("", "AWS::S3::Bucket")
	r.values.AccessControl in {"PublicRead", "PublicReadWrite", "AuthenticatedRead"}
	message := sprintf("the bucket %s is open to everybody: %s", [r.name, r.values.AccessControl])
}
