"""Annotations as the SDK makes them, run by an interpreter that has it: boxes as JSON in, one annotation a line out."""

import json
import sys


def main():
    import supervisely as sly

    side, title = int(sys.argv[1]), sys.argv[2]
    kind = sly.ObjClass(title, sly.Rectangle)
    for left, top, right, bottom in json.load(sys.stdin):
        label = sly.Label(sly.Rectangle(top, left, bottom, right), kind)
        print(json.dumps(sly.Annotation((side, side), [label]).to_json()))


main()
