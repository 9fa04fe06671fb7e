"""Images in, one of many classes out: ImageNet's tree, or any tree of labelled folders."""
