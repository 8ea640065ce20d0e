# Table 8 with a row of l2-AT, which the paper does not have.
_base_ = '../../../configs/tables/table8.py'
rows = [*_base_.rows, dict(method='l2-AT', eps='128/255')]
