# METADATA
# title: A bucket or a balancer that keeps no log
# description: >-
#   An S3 bucket or a load balancer is declared without a log of who asked for what.
# custom:
#   id: cloud-missing-logging
#   severity: low
#   why: >-
#     After an incident nobody can say what was read.
#   fix: >-
#     Add an aws_s3_bucket_logging or access_logs (LoggingConfiguration in CloudFormation).
package imx.cloud.cloud_missing_logging

import data.imx.cloud.lib

deny contains {"at": [r.i], "message": message} if {
	some r in lib.resource("aws_s3_bucket", "")
	not r.values.logging
	not logged(r.name)
	message := sprintf("the bucket %s keeps no log", [r.name])
}

logged(name) if {
	some l in lib.resource("aws_s3_bucket_logging", "")
	contains(l.values.bucket, sprintf("aws_s3_bucket.%s.", [name]))
}

deny contains {"at": [r.i], "message": message} if {
	some r in lib.resource("aws_lb", "")
	not r.values.access_logs
	message := sprintf("the load balancer %s keeps no log", [r.name])
}

deny contains {"at": [r.i], "message": message} if {
	some r in lib.resource("", "AWS::S3::Bucket")
	not r.values.LoggingConfiguration
	message := sprintf("the bucket %s keeps no log", [r.name])
}
