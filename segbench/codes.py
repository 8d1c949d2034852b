"""The validator's codes: one line each. A message that carries a code is documented under it in docs/errors.md."""

CODES = {
    "SB101": "prediction and ground truth differ in size",
    "SB110": "a label or category id that the data set does not have",
    "SB111": "ids look shifted or taken from another id space",
    "SB112": "label values beyond the number of classes, or a 0/255 binary mask",
    "SB113": "a class name that the data set does not have",
    "SB120": "two files or records for one image",
    "SB130": "ground truth without a prediction",
    "SB131": "a prediction without ground truth",
    "SB132": "no prediction matches any ground truth",
    "SB160": "an image file is truncated or damaged",
    "SB161": "lossy or interpolated labels",
    "SB162": "colours where class ids are expected",
    "SB163": "an 8-bit file where 16-bit instance ids are expected",
    "SB164": "an alpha channel in a label file",
    "SB165": "a 16-bit RGB file",
    "SB180": "float values that are neither labels nor unambiguous scores",
    "SB181": "the axes of an array are ambiguous",
    "SB191": "a pickle, which can run code when it is read",
    "SB192": "a file or archive beyond the size limits, or a path that leads outside its folder",
}
