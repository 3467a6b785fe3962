package erofs

// MountFlat mounts the way that kernels before 6.12 need, whatever this one can do.
func MountFlat(image, target string) error {
	parts, err := Parts(image)
	if err != nil {
		return err
	}
	files, err := openParts(image, parts)
	if err != nil {
		return err
	}
	defer closeAll(files)
	return mountFlat(image, files, target)
}
