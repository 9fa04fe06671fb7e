import sys,time,torch,numpy as np, resource
sys.path.insert(0,"/tmp/p")
from straight import Straight
from nowcast.precipitation.forecasters.encoder_forecaster import PAPER_STAGES, EncoderForecaster
from nowcast.core.plug import plug_in
batch=int(sys.argv[1]); threads=int(sys.argv[2]); n=int(sys.argv[3]); 
torch.set_num_threads(threads); torch.manual_seed(0)
ours=EncoderForecaster(PAPER_STAGES,10)
frames=torch.rand(2,batch,10,1,120,120)
layers=plug_in(ours,"*.candidate",dry_run=lambda h:h(frames[0,:1]))
plain=Straight(); plain.load_state_dict(ours.state_dict(),strict=False)
for p in plain.parameters(): p.data=p.data.contiguous()
def make(model,bf16,fused):
    opt=torch.optim.Adam([p for p in model.parameters() if p.requires_grad],lr=1e-4,fused=fused)
    def step():
        with torch.autocast("cpu",torch.bfloat16,enabled=bf16):
            loss=(model(frames[0]).float()-frames[1]).square().mean()
        opt.zero_grad(); loss.backward(); opt.step()
        return loss.item()
    return step
a=make(plain,False,False); b=make(ours,False,True); 
for _ in range(4): print(a(),b())
c=make(ours,True,True); print(c())
T={k:[] for k in "abc"}
for i in range(n):
    for k,f in (("a",a),("b",b),("c",c)):
        t=time.perf_counter(); f(); T[k].append(time.perf_counter()-t)
T={k:np.array(v) for k,v in T.items()}
print(batch,threads,"plain",np.median(T["a"]),"fp32",np.median(T["b"]),"bf16",np.median(T["c"]),"ratios",np.median(T["a"]/T["b"]),np.median(T["a"]/T["c"]))
