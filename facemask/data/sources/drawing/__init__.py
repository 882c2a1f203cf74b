"""People, drawn: a face in any pose, with or without a mask.

A head is a simple solid: points in head coordinates (x to the viewer's right, y down, z towards the viewer; half a head
height is 1) are rotated by yaw, pitch and roll and projected. Pose, skin, hair, light, background and the kind of mask
vary independently; the classes differ only in the position of the mask.
"""
