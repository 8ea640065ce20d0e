_base_ = './smallcnn_handwriting_sgd.py'
optim_wrapper = dict(type='SAMOptimWrapper', rho=0.2)
