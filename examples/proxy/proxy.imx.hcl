# A proxy from Debian's main suite alone. What has been mended since its last point release is in the security suite.

archive "debian" {
  suites = ["bookworm"]
}

image "proxy" {
  from     = archive.debian
  packages = ["nginx-light"]
  user     = "www-data"
  command  = ["/usr/sbin/nginx", "-g", "daemon off;"]
}
