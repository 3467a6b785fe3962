package erofs

// MountLoop mounts the way that kernels before 6.12 need, whatever this one can do.
func MountLoop(image, target string) error { return mountLoop(image, target) }
