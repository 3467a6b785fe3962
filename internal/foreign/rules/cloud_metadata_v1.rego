# METADATA
# title: A machine whose metadata can be asked without a token
# description: >-
#   An EC2 instance or launch template does not require tokens of its metadata service (IMDSv2).
# custom:
#   id: cloud-metadata-v1
#   severity: high
#   why: >-
#     A program on it that can be made to fetch an address gives away the credentials of the machine.
#   fix: >-
#     Write metadata_options { http_tokens = "required" } (MetadataOptions of a launch template in CloudFormation).
package imx.cloud.cloud_metadata_v1

import data.imx.cloud.lib

deny contains {"at": [r.i, "metadata_options", 0, "http_tokens"], "message": message} if {
	some kind in ["aws_instance", "aws_launch_template"]
	some r in lib.resource(kind, "")
	not tokens(r.values)
	message := sprintf("the metadata of %s can be asked without a token", [r.name])
}

deny contains {"at": [r.i, "LaunchTemplateData", "MetadataOptions"], "message": message} if {
	some r in lib.resource("", "AWS::EC2::LaunchTemplate")
	not asked(r.values)
	message := sprintf("the metadata of %s can be asked without a token", [r.name])
}

tokens(values) if {
	some options in values.metadata_options
	required(options.http_tokens)
}

tokens(values) if {
	some options in values.metadata_options
	options.http_endpoint == "disabled"
}

asked(values) if required(values.LaunchTemplateData.MetadataOptions.HttpTokens)

asked(values) if not is_object(values.LaunchTemplateData)

required(value) if value == "required"

required(value) if startswith(value, "${")
