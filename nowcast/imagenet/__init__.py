"""The image task: Swin on ImageNet, or any tree of labelled pictures."""
