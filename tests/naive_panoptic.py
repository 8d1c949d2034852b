"""Slow, obvious twins of the panoptic code: dictionaries and loops over pixels."""

from __future__ import annotations

import math
from collections import Counter


def overlaps(gt, pred):
    """`{(gt id, pred id): pixels}` of two flat lists of ids."""
    return Counter(zip(gt, pred, strict=True))


def class_sums(images, stated=False):
    """`{class: [iou sum, tp, fp, fn]}` by the rules of panopticapi.

    Args:
        images: (gt ids, gt table, pred ids, pred table) each; ids flat, tables `{id: (class, crowd, stated area)}` in file order; 0 is
        void.
        stated: Believe the stated areas.
    """
    sums = {}
    for gt, gt_table, pred, pred_table in images:
        both = overlaps(gt, pred)
        gt_area, pred_area = Counter(gt), Counter(pred)
        if stated:
            gt_area = {key: row[2] for key, row in gt_table.items()}
        matched_gt, matched_pred = set(), set()
        for g, p in sorted(both):
            if g not in gt_table or p not in pred_table or gt_table[g][1] or gt_table[g][0] != pred_table[p][0]:
                continue
            iou = both[g, p] / (gt_area[g] + pred_area[p] - both[g, p] - both.get((0, p), 0))
            if iou > 0.5:
                entry = sums.setdefault(gt_table[g][0], [0.0, 0, 0, 0])
                entry[0] += iou
                entry[1] += 1
                matched_gt.add(g)
                matched_pred.add(p)
        crowd_of = {}
        for g, (label, crowd, _) in gt_table.items():
            if g in matched_gt:
                continue
            if crowd:
                crowd_of[label] = g
            else:
                sums.setdefault(label, [0.0, 0, 0, 0])[3] += 1
        for p, (label, _, _) in pred_table.items():
            if p in matched_pred:
                continue
            forgiven = both.get((0, p), 0)
            if label in crowd_of:
                forgiven += both.get((crowd_of[label], p), 0)
            if not forgiven / pred_area[p] > 0.5:
                sums.setdefault(label, [0.0, 0, 0, 0])[2] += 1
    return sums


def qualities(sums, classes):
    """`(pq, sq, rq)` as means over those classes that count, and `{class: (pq, sq, rq)}`; NaN where there is none."""
    rows = {}
    for label in classes:
        iou, tp, fp, fn = sums.get(label, (0.0, 0, 0, 0))
        if tp + fp + fn:
            whole = tp + 0.5 * fp + 0.5 * fn
            rows[label] = iou / whole, iou / tp if tp else 0.0, tp / whole
    totals = [0.0, 0.0, 0.0]
    for row in rows.values():
        totals = [total + value for total, value in zip(totals, row, strict=True)]
    return tuple(total / len(rows) if rows else math.nan for total in totals), rows


def dagger(images, isthing):
    """`{class: pq}`: things as PQ; stuff as one region per image, its IoU over the images whose ground truth has it."""
    rows = {label: row[0] for label, row in qualities(class_sums(images), [c for c, thing in enumerate(isthing) if thing])[1].items()}
    for label in [c for c, thing in enumerate(isthing) if not thing]:
        total, count = 0.0, 0
        for gt, gt_table, pred, pred_table in images:
            g = [key in gt_table and gt_table[key][:2] == (label, False) for key in gt]
            p = [key in pred_table and pred_table[key][0] == label for key in pred]
            if not any(g):
                continue
            count += 1
            shared = sum(a and b for a, b in zip(g, p, strict=True))
            on_void = sum(b and key == 0 for b, key in zip(p, gt, strict=True))
            if shared:
                total += shared / (sum(g) + sum(p) - shared - on_void)
        if count:
            rows[label] = total / count
    return rows


def covering(images, num_classes):
    """`{class: covering}`: area-weighted best IoU of its ground-truth segments."""
    covered, whole = Counter(), Counter()
    for gt, gt_table, pred, pred_table in images:
        both, gt_area, pred_area = overlaps(gt, pred), Counter(gt), Counter(pred)
        for g, (label, crowd, _) in gt_table.items():
            if crowd:
                continue
            best = 0.0
            for p, (other, _, _) in pred_table.items():
                if other == label and both.get((g, p), 0):
                    best = max(best, both[g, p] / (gt_area[g] + pred_area[p] - both[g, p] - both.get((0, p), 0)))
            covered[label] += gt_area[g] * best
            whole[label] += gt_area[g]
    return {label: covered[label] / whole[label] for label in range(num_classes) if whole[label]}


def boundary(rows, distance):
    """The pixels of a map (list of rows) that have another id, or the edge, within Chebyshev distance."""
    height, width = len(rows), len(rows[0])

    def inside(y, x):
        return all(
            0 <= v < height and 0 <= u < width and rows[v][u] == rows[y][x]
            for v in range(y - distance, y + distance + 1)
            for u in range(x - distance, x + distance + 1)
        )

    return {(y, x) for y in range(height) for x in range(width) if not inside(y, x)}


def boundary_sums(images, distance):
    """As `class_sums`, the IoU of a pair being the smaller one of mask and boundary. Maps are lists of rows."""
    sums = {}
    for gt, gt_table, pred, pred_table in images:
        flat_gt, flat_pred = [v for row in gt for v in row], [v for row in pred for v in row]
        both, gt_area, pred_area = overlaps(flat_gt, flat_pred), Counter(flat_gt), Counter(flat_pred)
        edges_gt, edges_pred = boundary(gt, distance), boundary(pred, distance)
        matched_gt, matched_pred = set(), set()
        for g, p in sorted(both):
            if g not in gt_table or p not in pred_table or gt_table[g][0] != pred_table[p][0]:
                continue
            iou = both[g, p] / (gt_area[g] + pred_area[p] - both[g, p] - both.get((0, p), 0))
            of_gt = {at for at in edges_gt if gt[at[0]][at[1]] == g}
            of_pred = {at for at in edges_pred if pred[at[0]][at[1]] == p}
            on_void = {at for at in of_pred if gt[at[0]][at[1]] == 0}
            shared = len(of_gt & of_pred)
            iou = min(iou, shared / (len(of_gt) + len(of_pred) - shared - len(on_void)))
            if iou > 0.5:
                entry = sums.setdefault(gt_table[g][0], [0.0, 0, 0, 0])
                entry[0] += iou
                entry[1] += 1
                matched_gt.add(g)
                matched_pred.add(p)
        for g, row in gt_table.items():
            if g not in matched_gt:
                sums.setdefault(row[0], [0.0, 0, 0, 0])[3] += 1
        for p, row in pred_table.items():
            if p not in matched_pred and not both.get((0, p), 0) / pred_area[p] > 0.5:
                sums.setdefault(row[0], [0.0, 0, 0, 0])[2] += 1
    return sums
